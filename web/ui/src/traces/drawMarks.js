// Draws what words a stretch of a trace needs: withheld and why, no data, revised. Below the trace lie hatches, above it
// brackets.
import {t} from '../i18n.js';
import {lineAcross} from '../strokes.js';

const PAPER = '#070c13';
const DIM = '#8296ab';

export const FONT = '"Inter", system-ui, sans-serif';

/** Hatches and lines behind the trace. `canvas`: {g, width (device px), hatch}; `strip` as in row.js. */
export function marksBelow(canvas, row, strip) {
  const {g, hatch} = canvas;
  const {ratio} = strip;
  const top = (row.top + 1) * ratio;
  const height = (row.height - 2) * ratio;
  for (const mark of row.marks) {
    if (mark.to < strip.t0 - 1 || mark.from > strip.t1) continue;
    const [x0, x1] = [xOf(mark.from, strip), xOf(Math.min(mark.to, strip.t1), strip)];
    if (mark.kind === 'withheld') {
      g.fillStyle = hatch;
      g.fillRect(x0, top, x1 - x0, height);
      words(canvas, mark.reason ? t('traces.withheld_why', {reason: mark.reason}) : t('provenance.withheld'), x0, x1, mark, top + height / 2, '#eaf2f9', 11, ratio);
    } else if (mark.kind === 'missing') {
      lineAcross(g, x0, x1, top + height / 2, ratio);
      words(canvas, t('provenance.none'), x0, x1, mark, top + height / 2 - 9 * ratio, DIM, 10, ratio);
    }
  }
}

/** Brackets under stretches that were revised, names of distrusted ones. */
export function marksAbove(canvas, row, strip) {
  for (const mark of row.marks) {
    if (mark.to < strip.t0 - 1 || mark.from > strip.t1) continue;
    if (mark.kind === 'revised') bracket(canvas, row, strip, mark);
    if (mark.kind === 'quarantined') {
      const y = (row.top + row.height - 9) * strip.ratio;
      words(canvas, t('provenance.quarantined'), xOf(mark.from, strip), xOf(mark.to, strip), mark, y, '#ffb000', 9, strip.ratio);
    }
  }
}

function bracket(canvas, row, strip, mark) {
  const {g} = canvas;
  const {ratio} = strip;
  const y = (row.top + row.height - 5) * ratio;
  const [x0, x1] = [xOf(mark.from, strip), xOf(mark.to, strip)];
  g.strokeStyle = '#b9c8d6';
  g.lineWidth = ratio;
  g.beginPath();
  g.moveTo(x0, y - 4 * ratio);
  g.lineTo(x0, y);
  g.lineTo(x1, y);
  g.lineTo(x1, y - 4 * ratio);
  g.stroke();
  words(canvas, t('traces.revised'), x0, x1, mark, y - 7 * ratio, '#dbe5ee', 9, ratio);
}

const xOf = (time, strip) => (time - strip.page) * strip.pxPerS;

/** Words at the start of a mark; the first few of them where it is short, none where there is no room even for those. */
function words({g, width}, text, x0, x1, mark, y, color, size, ratio) {
  g.font = `600 ${size * ratio}px ${FONT}`;
  const x = Math.max(x0, 0) + 8 * ratio;
  const room = Math.min(mark.open ? Infinity : x1, width) - x - 6 * ratio;
  const fits = [text, text.split(':')[0]].find((one) => g.measureText(one).width <= room);
  if (!fits) return;
  g.textBaseline = 'middle';
  g.lineWidth = 3 * ratio;
  g.strokeStyle = PAPER;
  g.strokeText(fits, x, y);
  g.fillStyle = color;
  g.fillText(fits, x, y);
}
