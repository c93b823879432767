// @ts-check
/**
 * Keys that do something on a camera's page wherever one is on it. They can be switched off: who speaks instead of typing presses
 * them unawares (WCAG 2.2, 2.1.4).
 */

const OFF_KEY = 'apiary.keys';

export function keysAreOn() {
  return localStorage.getItem(OFF_KEY) !== 'off';
}

/** @param {boolean} on */
export function switchKeys(on) {
  localStorage.setItem(OFF_KEY, on ? 'on' : 'off');
}

/**
 * Whether a key is meant for the page, and not for a field, the browser or the system.
 *
 * @param {KeyboardEvent} event
 */
export function isForPage({ target, ctrlKey, metaKey, altKey }) {
  const typing = target instanceof Element && target.closest('input, select, textarea, dialog');
  return keysAreOn() && !typing && !ctrlKey && !metaKey && !altKey;
}
