// @ts-check
/**
 * The connection to the camera that a page was opened for, begun while the rest of the page is still on its way. The first player of
 * that camera takes it over.
 *
 * @typedef {import('./attempt.js').AttemptHandler} AttemptHandler
 * @typedef {{attempt: Attempt, handTo: (handler: AttemptHandler) => void}} Begun `handTo`: tells the handler what came so far, and
 *   from then on what comes
 */
import { Attempt } from './attempt.js';

/** A player that does not come within this time will not. */
const PATIENCE_MS = 10_000;
const NEWS = /** @type {const} */ (['track', 'connected', 'ice', 'sampled', 'stream', 'refused', 'turn', 'ended']);

/** By camera. @type {Map<string, Begun>} */ const begun = new Map();

/** @param {string} camera its id */
export function begin(camera) {
  /** @type {((handler: any) => void)[]} */ const came = [];
  const keeper = Object.fromEntries(NEWS.map((news) => [
    news, (/** @type {unknown[]} */ ...told) => { came.push((handler) => handler[news](...told)); },
  ]));
  // To the page's own server, and as somebody who may want to talk: the way a camera's page asks.
  const attempt = new Attempt(camera, { origin: location.origin, token: '' }, /** @type {any} */ (keeper), null, true);
  begun.set(camera, {
    attempt,
    handTo(handler) {
      attempt.serve(handler);
      came.forEach((tell) => tell(handler));
    },
  });
  setTimeout(() => take(camera)?.attempt.close(), PATIENCE_MS);
}

/**
 * What was begun for this camera, once.
 *
 * @param {string} camera
 */
export function take(camera) {
  const found = begun.get(camera) ?? null;
  begun.delete(camera);
  return found;
}
