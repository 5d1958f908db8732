// Where cards, lens and body go in a box of a given size. Pure arithmetic: no DOM, no three.js.
// Lengths in CSS px from the top left.

export const MARGIN = 12;
const GAP = 8;
const ROW = 77; // height of a card in the strip
const NARROW = 470; // below this there are no gutters: cards stand in a strip under the body

/** The room's plan for `count` cards: `{narrow, gutter, aside, stage: {width, height}, lens: {x, y, size}}`. The body
 * stands `aside` px left of the middle. */
export function plan(size, count, wantsLens) {
  const narrow = size.width < NARROW;
  const rows = Math.ceil(count / 2);
  const strip = narrow && count ? Math.min(size.height * 0.52, rows * (ROW + GAP) - GAP + 2 * MARGIN) : 0;
  const stage = { width: size.width, height: size.height - strip };
  const gutter = narrow ? 8 : Math.round(Math.min(230, Math.max(138, size.width * 0.235)));
  const wanted = narrow ? Math.min(size.width * 0.34, stage.height * 0.34) : Math.min(gutter + Math.max(50, size.width * 0.09), stage.height * 0.3);
  const lensSize = wantsLens ? Math.round(Math.min(340, Math.max(84, wanted))) : 0;
  const lens = { x: Math.round(size.width - MARGIN - lensSize), y: MARGIN, size: lensSize };
  return { narrow, gutter, aside: narrow ? Math.round(lensSize * 0.45) : 0, stage, lens };
}

/**
 * Places cards: `items` [{id, side, height, wantY, face}] -> {id: {x, y, width, side}}. Cards of the face stand under
 * the lens; the left gutter begins at `top`; a side that would overflow gives its lowest cards to the other.
 */
export function arrange(items, size, room, top = MARGIN) {
  return room.narrow ? strip(items, size, room) : gutters(items, size, room, top);
}

function strip(items, size, room) {
  const width = Math.floor((size.width - 3 * MARGIN) / 2);
  const out = {};
  let y = room.stage.height + MARGIN;
  for (let i = 0; i < items.length; i += 2) {
    const row = items.slice(i, i + 2);
    row.forEach((item, j) => {
      out[item.id] = { x: MARGIN + j * (width + MARGIN), y: Math.round(y), width, side: j ? 'right' : 'left' };
    });
    y += Math.max(...row.map((item) => item.height)) + GAP;
  }
  return out;
}

function gutters(items, size, room, top) {
  const width = Math.round(room.gutter - MARGIN);
  const tops = { left: top, right: room.lens.size ? room.lens.y + room.lens.size + 16 : MARGIN };
  const bottom = size.height - MARGIN;
  const sides = { left: items.filter((i) => i.side === 'left'), right: items.filter((i) => i.side !== 'left') };
  const need = (list) => list.reduce((sum, item) => sum + item.height + GAP, -GAP);
  for (const [from, to] of [['right', 'left'], ['left', 'right']]) {
    while (sides[from].length > 1 && need(sides[from]) > bottom - tops[from]) {
      const moved = sides[from].filter((i) => !i.face).pop();
      if (!moved || need(sides[to]) + moved.height > bottom - tops[to]) break;
      sides[from] = sides[from].filter((i) => i !== moved);
      sides[to] = [...sides[to], moved];
    }
  }
  const out = {};
  for (const [side, list] of Object.entries(sides)) {
    const x = side === 'left' ? MARGIN : size.width - MARGIN - width;
    stack(list, tops[side], bottom).forEach(({ id, y }, i) => {
      out[id] = { x, y: Math.round(y), width, side, first: i === 0 };
    });
  }
  return out;
}

/** Tops of cards, as near to `wantY` as order, gaps, `top` and `bottom` allow. */
function stack(list, top, bottom) {
  const order = [...list].sort((a, b) => Number(Boolean(b.face)) - Number(Boolean(a.face)) || a.wantY - b.wantY);
  const placed = order.map((item) => ({ id: item.id, height: item.height, y: item.wantY - item.height / 2 }));
  let edge = top;
  for (const card of placed) {
    card.y = Math.max(card.y, edge);
    edge = card.y + card.height + GAP;
  }
  edge = bottom;
  for (const card of [...placed].reverse()) {
    card.y = Math.max(top, Math.min(card.y, edge - card.height));
    edge = card.y - GAP;
  }
  return placed;
}
