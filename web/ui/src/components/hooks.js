// How components listen: useTick runs four times a second outside React; useStore re-renders on rare changes.
import {useEffect, useReducer, useRef} from 'react';
import {hold, store} from '../store.js';

/** Run `update(store)` now and at every tick; it writes into DOM nodes that it holds. */
export function useTick(update) {
  const newest = useRef(update);
  newest.current = update;
  useEffect(() => {
    const s = store();
    newest.current(s);
    return together(hold(), s.on('tick', () => newest.current(s)));
  }, []);
}

/** One way out of several. */
const together = (...outs) => () => outs.forEach((out) => out());

/** Re-render when one of these kinds of change happens. Returns the store. */
export function useStore(...kinds) {
  const [, render] = useReducer((n) => n + 1, 0);
  useEffect(() => {
    render(); // what came between drawing and listening
    return together(hold(), ...kinds.map((kind) => store().on(kind, render)));
  }, []);
  return store();
}

/** Write text or an attribute only where it changed: DOM writes cost more than compares. */
export function put(node, text) {
  if (node && node.textContent !== text) node.textContent = text;
}

export function mark(node, name, value) {
  if (node && node.getAttribute(name) !== String(value)) node.setAttribute(name, String(value));
}
