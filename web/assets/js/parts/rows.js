// @ts-check
/**
 * A list of things that can be ended or changed, one a row.
 *
 * @typedef {{words: string, act: () => unknown, id?: string}} Action
 * @typedef {{key: string, title: string, facts: unknown, actions: Action[], current?: boolean}} Row
 */
import { html, repeat } from '../../vendor/lit.js';

/**
 * @param {string} id
 * @param {Row[]} all
 * @param {string} none what stands in place of an empty list
 */
export function rows(id, all, none) {
  if (all.length === 0) return html`<ul class="rows" id=${id}></ul><p class="hint">${none}</p>`;
  return html`<ul class="rows" id=${id}>${repeat(all, (row) => row.key, (row) => html`<li>
    <div class="names"><p class="row-title">${row.title}</p><p class="facts">${row.facts}</p></div>
    <div class="actions">${row.actions.map((action) => html`<button type="button" class="button ${action.id ?? ''}"
      aria-label="${action.words}: ${row.title}" @click=${action.act}>${action.words}</button>`)}</div>
  </li>`)}</ul>`;
}
