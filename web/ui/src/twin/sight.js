// Where things of the room are on the screen, and back: anchors, the spot that the lens enlarges, a pointer's ray.
// All lengths in CSS px from the top left of the stage.

/** Where an anchor is seen: {x, y, faint}, faint where it is turned away; null where the body has no such anchor. */
export function whereIs({ figure, lens, camera, plan }, anchor, side, inLens) {
  const { avatar, group } = figure;
  const point = avatar.anchor(anchor, side);
  if (!point) return null;
  point.applyMatrix4(group.matrixWorld);
  const enlarged = inLens ? lens.project(point) : null;
  if (enlarged) return enlarged;
  const normal = avatar.anchorNormal(anchor, side).transformDirection(group.matrixWorld);
  const faint = normal.dot(camera.eye.position.clone().sub(point)) < 0;
  return { ...toStage(point.project(camera.eye), plan.stage), faint };
}

/** The circle {x, y, r} on the body that the lens enlarges. */
export function lensTie({ lens, camera, plan }) {
  const at = lens.focus.clone().project(camera.eye);
  const top = lens.focus.clone().setY(lens.focus.y + lens.half).project(camera.eye);
  return { ...toStage(at, plan.stage), r: (Math.abs(top.y - at.y) * plan.stage.height) / 2 };
}

/** The camera and the normalised device coordinates of a point: the lens's where the point lies on the lens. */
export function rayAt({ lens, camera, plan }, x, y) {
  const inLens = lens.pointer(x, y);
  if (inLens) return { camera: lens.eye, ...inLens };
  return { camera: camera.eye, x: (x / plan.stage.width) * 2 - 1, y: 1 - (y / plan.stage.height) * 2 };
}

const toStage = (p, { width, height }) => ({ x: (p.x * 0.5 + 0.5) * width, y: (0.5 - p.y * 0.5) * height });
