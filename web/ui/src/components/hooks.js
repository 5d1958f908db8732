// How components listen: useMine is the store they were mounted with; useTick runs four times a second outside React;
// useStore re-renders on rare changes.
import React, {useEffect, useReducer, useRef, useState} from 'react';
import {hold, storeOfPage} from '../store.js';

const TITLE_MS = 500;

/** The store this component was mounted with. It never changes: another patient's page is another component. */
export const useMine = () => useState(storeOfPage)[0];

/** Run `update(store)` now and at every tick; it writes into DOM nodes that it holds. */
export function useTick(update) {
  const s = useMine();
  const newest = useRef(update);
  newest.current = update;
  useEffect(() => {
    newest.current(s);
    return together(hold(s), s.on('tick', () => newest.current(s)));
  }, [s]);
}

/** One way out of several. */
const together = (...outs) => () => outs.forEach((out) => out());

/** Re-render when one of these kinds of change happens. Returns the store. */
export function useStore(...kinds) {
  const s = useMine();
  const [, render] = useReducer((n) => n + 1, 0);
  useEffect(() => {
    render(); // what came between drawing and listening
    return together(hold(s), ...kinds.map((kind) => s.on(kind, render)));
  }, [s]);
  return s;
}

/** Name the browser's tab; Dash sets its own title some time after a page has changed. */
export function useTitle(text) {
  useEffect(() => {
    const name = () => { if (document.title !== text) document.title = text; };
    name();
    const timer = setInterval(name, TITLE_MS);
    return () => clearInterval(timer);
  }, [text]);
}

/** Write text or an attribute only where it changed: DOM writes cost more than compares. */
export function put(node, text) {
  if (node && node.textContent !== text) node.textContent = text;
}

export function mark(node, name, value) {
  if (node && node.getAttribute(name) !== String(value)) node.setAttribute(name, String(value));
}

/** A component that is there only while its patient may be seen: when her room is closed, all that it drew goes with it. */
export const whileSeen = (Component) => function WhileSeen(props) {
  return useStore('over').over ? null : <Component {...props} />;
};
