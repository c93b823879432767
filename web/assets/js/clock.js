// @ts-check
/**
 * What time it is, by the server's clock. All times on the pages come from there; a device's own clock may be hours away, and "today"
 * or "in an hour" would be wrong by it. No DOM here.
 */

/** How far this device's clock is ahead. In milliseconds. */
let aheadMs = 0;

/**
 * The server said what time it is.
 *
 * @param {string} time
 * @returns {number} how far this device's clock is ahead of it, in milliseconds
 */
export function heardTime(time) {
  aheadMs = Date.now() - Date.parse(time);
  return aheadMs;
}

/**
 * A moment of this device's clock, by the server's; the same until the server said anything.
 *
 * @param {number} device in milliseconds since 1970, as is what it gives
 */
export function byServer(device) {
  return device - aheadMs;
}

export function now() {
  return byServer(Date.now());
}
