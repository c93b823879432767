// @ts-check
/** Forms that ask the server for something. */
import { attempt } from './notice.js';

/**
 * A handler for `submit`: does it once at a time, says what went wrong, and empties the form when it went well.
 *
 * @param {(field: (name: string) => string, form: HTMLFormElement) => Promise<unknown>} action `field` gives the value of one by name
 */
export function submits(action) {
  return async (/** @type {Event} */ event) => {
    event.preventDefault();
    const form = /** @type {HTMLFormElement} */ (event.currentTarget);
    const button = form.querySelector('button');
    if (!button || button.disabled) return;
    button.disabled = true;
    const field = (/** @type {string} */ name) => /** @type {HTMLInputElement} */ (form.elements.namedItem(name)).value;
    if (await attempt(() => action(field, form))) form.reset();
    button.disabled = false;
  };
}

/**
 * The values of all ticked boxes of that name.
 *
 * @param {HTMLFormElement} form
 * @param {string} name
 */
export function ticked(form, name) {
  return new FormData(form).getAll(name).map(String);
}
