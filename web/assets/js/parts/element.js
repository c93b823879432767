// @ts-check
/** What all components of the app have in common. */
import { LitElement } from '../../vendor/lit.js';

/** For properties that whoever makes the element sets, before it is rendered at first. @type {any} */
export const GIVEN = undefined;

/**
 * A component without a shadow root: one style sheet serves the app, and labels reach what they name.
 * `<apiary-camera>` in `embed.js`, which lives on foreign pages, is the exception.
 */
export class AppElement extends LitElement {
  createRenderRoot() {
    return this;
  }

  /**
   * An element of this component by its selector.
   *
   * @template {Element} E
   * @param {string} selector
   * @param {{new (): E}} type
   * @returns {E}
   */
  find(selector, type) {
    const element = this.querySelector(selector);
    if (!(element instanceof type)) throw new Error(`<${this.localName}> lacks ${selector}`);
    return element;
  }
}
