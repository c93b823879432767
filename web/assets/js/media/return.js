// @ts-check
/**
 * When a picture that has ended is asked for again without anybody's doing. No DOM here.
 *
 * @typedef {import('../api.js').Camera} Camera
 */

/** @param {Camera} camera */
export function runs(camera) {
  return camera.stream?.state === 'starting' || camera.stream?.state === 'active';
}

/**
 * Somebody started the camera; or it failed and came back since.
 *
 * @param {Camera} before how it stood before the last news
 * @param {Camera} now
 * @param {'stopped' | 'failed'} ended how the picture did
 */
export function mayReturn(before, now, ended) {
  if (runs(now) && !runs(before)) return true;
  return ended === 'failed' && now.online === true && before.online === false;
}
