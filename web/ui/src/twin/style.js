// The overlay's style sheet, put into the page once, so that the viewer is whole on any page. It stays when the body has
// gone: its classes are nobody else's. Every ink has at least 4.5:1 on the card's ground (#08111b).

const ID = 'eb-twin-style';

const CSS = `
.eb-twin { position: relative; width: 100%; height: 100%; overflow: hidden; background: #04080e; color: #d7e9f7;
  font: 500 12px/1.25 Inter, "Segoe UI", system-ui, sans-serif; font-variant-numeric: tabular-nums; }
.eb-twin [hidden] { display: none !important; }
.eb-twin canvas { position: absolute; inset: 0 auto auto 0; display: block; outline: none; }
.eb-twin canvas:focus-visible { box-shadow: inset 0 0 0 2px #7cc8ff; }
.eb-twin svg.eb-lines { position: absolute; inset: 0; width: 100%; height: 100%; pointer-events: none; }
.eb-lines path { fill: none; stroke-width: 1.2; }
.eb-lines .eb-tie { stroke: #38bdf8; stroke-opacity: .30; stroke-width: 1; }
.eb-card { position: absolute; left: 0; top: 0; box-sizing: border-box; margin: 0; padding: 7px 8px 8px 11px; text-align: left;
  color: inherit; font: inherit; cursor: pointer; border-radius: 8px; background: rgba(8, 17, 27, .88);
  border: 1px solid rgba(124, 160, 190, .30); border-left: 3px solid var(--ink); }
.eb-card:hover { background: rgba(14, 28, 42, .94); }
.eb-card[aria-pressed=true] { background: rgba(16, 36, 54, .96); border-color: #7cc8ff; border-left-color: var(--ink); }
.eb-card:focus-visible { outline: 2px solid #9fd8ff; outline-offset: 2px; }
.eb-card .eb-name { display: block; color: #b6c8d8; font-size: 11.5px; letter-spacing: .02em; }
.eb-card .eb-value { display: block; margin: 1px 0 3px; font-size: 18px; font-weight: 650; line-height: 1.15; color: var(--ink);
  white-space: pre-line; overflow-wrap: anywhere; }
.eb-card .eb-word { display: block; font-size: 10px; font-weight: 650; letter-spacing: 0; white-space: nowrap; color: var(--word); }
.eb-card .eb-other { display: block; margin-top: 2px; font-size: 10px; font-weight: 600; line-height: 1.25; color: var(--word); }
.eb-narrow .eb-other { display: none; }
.eb-card .eb-meter { display: none; height: 3px; margin-top: 4px; border-radius: 2px; background: rgba(160, 190, 215, .22); }
.eb-card .eb-meter i { display: block; height: 100%; width: 100%; border-radius: 2px; background: var(--word); transform-origin: 0 50%; }
.eb-card[data-provenance=synthesised] { border-style: dashed; border-color: rgba(255, 192, 107, .6); border-left-color: var(--ink); }
.eb-card[data-provenance=synthesised] .eb-meter, .eb-card[data-provenance=predicted] .eb-meter { display: block; }
.eb-card[data-provenance=predicted] { border-style: dotted; }
.eb-card[data-provenance=quarantined] { border: 1px solid #ff7a59; border-left: 3px double #ff7a59; }
.eb-card[data-provenance=withheld] { background: rgba(8, 17, 27, .7); border: 1px dotted #90a2b2; border-left: 3px dotted #90a2b2; }
.eb-card[data-provenance=withheld] .eb-value { color: #b3c1ce; }
.eb-note { position: absolute; left: 0; top: 0; box-sizing: border-box; min-height: 26px; padding: 4px 8px; border-radius: 6px;
  text-align: left; font: inherit; cursor: pointer; background: rgba(8, 17, 27, .78); border: 1px solid rgba(124, 160, 190, .4);
  color: #b9cad9; font-size: 11px; }
.eb-note:hover { background: rgba(14, 28, 42, .94); }
.eb-note[aria-pressed=true] { background: rgba(16, 36, 54, .96); border-color: #7cc8ff; }
.eb-note:focus-visible { outline: 2px solid #9fd8ff; outline-offset: 2px; }
.eb-note[data-provenance=illustrative], .eb-note[data-provenance=withheld] { border-style: dotted; }
.eb-note[data-provenance=synthesised] { border-style: dashed; border-color: rgba(255, 192, 107, .6); }
.eb-note[data-provenance=quarantined] { border-color: #ff7a59; }
.eb-note:not([data-provenance=illustrative]) i { font-style: normal; font-weight: 650; font-size: 10px; }
.eb-note b { font-weight: 600; color: #d7e9f7; }
.eb-note i { font-style: italic; }
.eb-legend { position: absolute; left: 0; right: 0; bottom: 8px; display: flex; gap: 14px; justify-content: center; pointer-events: none;
  font-size: 10.5px; letter-spacing: .03em; color: #a9bccd; }
.eb-legend span { display: inline-flex; align-items: center; gap: 5px; }
.eb-legend i { width: 14px; height: 10px; border-radius: 2px; border: 1px solid #7fc4ea; background: rgba(95, 190, 240, .55); }
.eb-legend .s { border-style: dashed; border-color: #ffc06b; background: repeating-linear-gradient(135deg, #ffc06b 0 2px, transparent 2px 5px); }
.eb-legend .q { border-color: #ff7a59; background: repeating-linear-gradient(45deg, #ff7a59 0 1px, transparent 1px 4px),
  repeating-linear-gradient(-45deg, #ff7a59 0 1px, transparent 1px 4px); }
.eb-legend .w { border-color: #9fb0c0; background: none; }
.eb-air { position: absolute; left: 12px; top: 12px; display: flex; gap: 6px; flex-wrap: wrap; pointer-events: none; }
.eb-air span { padding: 3px 8px; border-radius: 6px; background: rgba(8, 17, 27, .78); border: 1px solid rgba(124, 160, 190, .3);
  color: #c6d8e6; font-size: 11px; }
.eb-air span[data-provenance=synthesised] { border-style: dashed; border-color: rgba(255, 192, 107, .6); }
.eb-air span em { font-style: normal; font-weight: 650; font-size: 10px; letter-spacing: .04em; margin-left: 5px; }
.eb-narrow .eb-air { left: auto; max-width: none !important; right: 12px; flex-direction: column; align-items: flex-end; }
.eb-narrow .eb-air em { display: block; margin: 0; text-align: right; }
.eb-status { position: absolute; left: 50%; top: 50%; transform: translate(-50%, -50%); padding: 8px 14px; border-radius: 8px;
  background: rgba(8, 17, 27, .9); color: #c6d8e6; pointer-events: none; }
.eb-status:empty { display: none; }
.eb-twin[data-state=flat] .eb-status { top: auto; bottom: 30px; transform: translate(-50%, 0); padding: 4px 10px; font-size: 11px; }
.eb-facts { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); white-space: nowrap; }
.eb-ring { fill: none; stroke: #9fd8ff; stroke-width: 2; }
.eb-ring[data-kind=pointed] { stroke-dasharray: 3 3; stroke-width: 1.5; }
.eb-rings-only > :not(.eb-ring) { display: none; }
.eb-air span[data-fact=skin]::after { content: ''; display: inline-block; width: 34px; height: 7px; margin-left: 6px; border-radius: 2px;
  background: linear-gradient(90deg, #4080ff, #73b8d9 54%, #ff6138); }
@media (forced-colors: active) {
  .eb-card, .eb-note, .eb-air span { forced-color-adjust: none; }
  .eb-card[aria-pressed=true], .eb-note[aria-pressed=true] { outline: 3px solid Highlight; }
  .eb-card:focus-visible, .eb-note:focus-visible { outline: 3px solid Highlight; outline-offset: 2px; }
}
.eb-flat { position: absolute; left: 0; top: 0; }
`;

/** Puts the style sheet into `doc` unless it is there. */
export function addStyle(doc) {
  if (doc.getElementById(ID)) return;
  const style = doc.createElement('style');
  style.id = ID;
  style.textContent = CSS;
  doc.head.append(style);
}
