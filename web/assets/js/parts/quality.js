// @ts-check
/** How well the picture arrives here: in words, in numbers, and as a graph of the last minute. */
import { html, nothing, svg } from '../../vendor/lit.js';
import { t, text } from '../i18n/i18n.js';
import { bitrate, iceState, number } from '../words.js';
import { AppElement } from './element.js';

/** How many samples the graph shows; there is one a second. */
const SAMPLES = 60;
const GRAPH_HEIGHT = 40;

export class Quality extends AppElement {
  static properties = { player: { attribute: false }, viewers: { attribute: false }, state: { attribute: false } };

  /** In kbit/s, the latest last. @type {number[]} */ #bitrates = [];

  constructor() {
    super();
    /** @type {import('../media/player.js').Player | null} */ this.player = null;
    /** @type {number | null} */ this.viewers = null;
    /** How the camera stands, in words. */ this.state = '';
  }

  /** @param {import('../../vendor/lit.js').PropertyValues} changed */
  willUpdate(changed) {
    if (!changed.has('player') || !this.player) return;
    this.player.addEventListener('sample', () => this.#onSample());
    this.player.addEventListener('ice', () => this.requestUpdate());
  }

  #onSample() {
    this.#bitrates.push(this.player?.sample?.bitrateKbps ?? 0);
    this.#bitrates = this.#bitrates.slice(-SAMPLES);
    this.requestUpdate();
  }

  render() {
    const sample = this.player?.sample ?? null;
    const delay = sample?.jitterBufferMs == null ? null : sample.jitterBufferMs + (sample.roundTripMs ?? 0) / 2;
    return html`
      <dl class="numbers">
        ${this.#row('stat-state', 'stat.state', this.state)}
        ${this.#row('stat-delay', 'stat.delay', milliseconds(delay))}
        ${this.#row('stat-bitrate', 'stat.bitrate', bitrate(sample?.bitrateKbps))}
        ${this.#row('stat-resolution', 'stat.resolution', sample && sample.height > 0 ? `${sample.width} × ${sample.height}` : '–')}
        ${this.#row('stat-fps', 'stat.fps', sample?.fps == null ? '–' : number(sample.fps))}
        ${this.#row('stat-loss', 'stat.loss', sample?.lossPercent == null ? '–' : `${number(sample.lossPercent, 1)} % (${number(sample.lost)})`)}
        ${this.#row('stat-rtt', 'stat.rtt', milliseconds(sample?.roundTripMs))}
        ${this.#row('stat-jitter', 'stat.jitter', milliseconds(sample?.jitterBufferMs))}
        ${this.#row('stat-codec', 'stat.codec', sample?.codec || '–')}
        ${this.#row('stat-path', 'stat.path', (sample && text(`path.${sample.path}`)) || '–')}
        ${this.#row('stat-ice', 'stat.ice', iceState(this.player?.iceState ?? 'closed'))}
        ${this.#row('stat-viewers', 'stat.viewers', this.viewers === null ? '–' : number(this.viewers))}
      </dl>
      ${this.#graph()}`;
  }

  /**
   * @param {string} id
   * @param {import('../i18n/i18n.js').Key} name
   * @param {string} value
   */
  #row(id, name, value) {
    return html`<div><dt>${t(name)}</dt><dd id=${id}>${value}</dd></div>`;
  }

  #graph() {
    if (this.#bitrates.length < 2) return nothing;
    const most = Math.max(...this.#bitrates, 1);
    const points = this.#bitrates
      .map((kbps, index) => `${index + SAMPLES - this.#bitrates.length},${(GRAPH_HEIGHT * (1 - kbps / most)).toFixed(1)}`)
      .join(' ');
    return html`<figure class="graph">
      <svg viewBox="0 -2 ${SAMPLES - 1} ${GRAPH_HEIGHT + 4}" preserveAspectRatio="none" aria-hidden="true">${svg`<polyline points=${points}/>`}</svg>
      <figcaption>${t('stat.graph', { most: bitrate(most) })}</figcaption>
    </figure>`;
  }
}
customElements.define('apiary-quality', Quality);

/** @param {number | null | undefined} value */
function milliseconds(value) {
  return value === null || value === undefined ? '–' : `${number(value)} ms`;
}
