// What people and the browser do to the room: keys, double click, lost graphics, scrolling out of sight.

/** Listens on behalf of `room`; the function that it gives back stops all of it. */
export function listen(room) {
  const { canvas, camera, hooks } = room;
  const listeners = {
    dblclick: () => {
      camera.reset();
      if (room.picked) room.pick(room.picked);
    },
    keydown: (event) => press(room, event),
    webglcontextlost: (event) => {
      event.preventDefault(); // asks the browser to give it back
      room.lost = true;
      hooks.lost();
    },
    webglcontextrestored: () => {
      room.lost = false;
      room.size = { width: 0, height: 0 };
      hooks.restored();
    },
  };
  for (const [name, listener] of Object.entries(listeners)) canvas.addEventListener(name, listener);
  const watcher = new IntersectionObserver((entries) => (room.offScreen = !entries.at(-1).isIntersecting));
  watcher.observe(room.root);
  return () => {
    watcher.disconnect();
    for (const [name, listener] of Object.entries(listeners)) canvas.removeEventListener(name, listener);
  };
}

function press(room, event) {
  const { camera } = room;
  const moves = {
    ArrowLeft: () => camera.nudge(-0.3),
    ArrowRight: () => camera.nudge(0.3),
    '+': () => camera.nudge(0, 1.2),
    '=': () => camera.nudge(0, 1.2),
    '-': () => camera.nudge(0, 1 / 1.2),
    0: () => camera.reset(),
  };
  if (!moves[event.key]) return;
  event.preventDefault();
  moves[event.key]();
}
