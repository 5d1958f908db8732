// The replay's keyboard: space plays, arrows step (ten times as far with Shift), page keys turn the window, and a letter
// jumps to the next gap, alarm or threat (with Shift: the previous one).
import {JUMPS} from './Controls.js';

/** Act on a key unless it is meant for a field, a link or a pressed button. `jump(kind, back)`. */
export function onKey(event, model, jump) {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest?.('input, select, textarea, a')) return;
  const onButton = event.target.closest?.('button');
  const jumpKind = Object.keys(JUMPS).find((kind) => JUMPS[kind] === event.key.toLowerCase());
  const step = event.shiftKey ? 10 : 1;
  if (event.key === ' ' && !onButton) model.play();
  else if (event.key === 'ArrowLeft') model.go(model.t - step);
  else if (event.key === 'ArrowRight') model.go(model.t + step);
  else if (event.key === 'PageUp') model.range(model.t0 - model.span, model.t0, model.t - model.span);
  else if (event.key === 'PageDown') model.range(model.t1, model.t1 + model.span, model.t + model.span);
  else if (jumpKind) jump(jumpKind, event.shiftKey);
  else return;
  event.preventDefault();
}
