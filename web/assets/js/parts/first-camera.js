// @ts-check
/**
 * The last step of the set-up assistant: what to put on a camera, waiting until it says hello, and its picture. That it says hello
 * is told by the live state; only who was refused at the broker has to be asked for.
 *
 * @typedef {import('../api.js').Camera} Camera
 * @typedef {{at: string, ip_address: string, client: string, count: number, text: string, cause: import('../i18n/i18n.js').Cause}} Refused
 * @typedef {{
 *   broker: {host: string, port: number, tls: boolean},
 *   camera_files: {directory: string, names: string[], there: boolean, command: string, other_authority: string | null},
 *   refused: Refused[] | null
 * }} FirstCameraSetUp
 */
import { html, nothing, repeat } from '../../vendor/lit.js';
import { call, posterOf } from '../api.js';
import { reason, t } from '../i18n/i18n.js';
import { live, Watching } from '../live.js';
import { cameraName, clock } from '../words.js';
import { GIVEN } from './element.js';
import { submits } from './form.js';
import { tell } from './notice.js';
import { Polling } from './polling.js';
import './stage.js';

/** Who was refused is asked for this often. */
const REFUSED_EVERY_MS = 5000;
/** A camera that was just started anew has said hello by then. */
const PATIENCE_MS = 45_000;

export class FirstCamera extends Polling {
  static properties = { setUp: { attribute: false }, refused: { state: true }, arrived: { state: true }, late: { state: true }, shows: { state: true } };

  everyMs = REFUSED_EVERY_MS;
  /** Those that are no news. @type {Set<string> | null} */ #before = null;
  #lateTimer = 0;

  constructor() {
    super();
    new Watching(this);
    this.setUp = /** @type {FirstCameraSetUp} */ (GIVEN);
    /** @type {Refused[]} */ this.refused = [];
    /** The id of the camera that came. */ this.arrived = '';
    /** Nothing came for a while. */ this.late = false;
    /** Its picture is here. */ this.shows = false;
  }

  connectedCallback() {
    super.connectedCallback();
    this.#wait();
  }

  disconnectedCallback() {
    super.disconnectedCallback();
    clearTimeout(this.#lateTimer);
  }

  #wait() {
    this.arrived = '';
    this.late = this.shows = false;
    clearTimeout(this.#lateTimer);
    this.#lateTimer = window.setTimeout(() => { this.late = true; }, PATIENCE_MS);
  }

  async read() {
    if (this.arrived) return;
    this.refused = (await call('GET', '/api/setup')).refused ?? [];
  }

  willUpdate() {
    if (!live.known || this.arrived) return;
    const there = [...live.cameras.values()].filter(({ online }) => online);
    // One that has no name yet is as good as new: it came while somebody was still at another step.
    this.#before ??= new Set(there.filter(({ name }) => name).map((camera) => camera.camera_id));
    this.arrived = there.find(({ camera_id: id }) => !this.#before?.has(id))?.camera_id ?? '';
  }

  #another = () => {
    this.#before?.add(this.arrived);
    this.#wait();
  };

  render() {
    const camera = live.cameras.get(this.arrived);
    return html`${camera ? this.#camera(camera) : html`${this.#instructions()}${this.#waiting()}`}`;
  }

  #instructions() {
    const { broker, camera_files: files } = this.setUp;
    const answer = JSON.stringify({ mqtt: { broker: broker.host, port: broker.port } }, null, 2);
    return html`<dl class="numbers">
        <div><dt>${t('welcome.host')}</dt><dd>${broker.host}</dd></div>
        <div><dt>${t('welcome.port')}</dt><dd>${broker.port}${broker.tls ? ' (TLS)' : nothing}</dd></div>
        <div><dt>${t('welcome.files')}</dt><dd>${files.names.join(', ')}</dd></div>
      </dl>
      ${files.there
        ? html`<p class="hint">${t('welcome.files-there', { directory: files.directory })}</p>`
        : html`<p class="hint">${t('welcome.files-make', { directory: files.directory })}</p><pre class="lines">${files.command}</pre>`}
      ${files.other_authority ? html`<p class="hint">${t('welcome.files-other', { path: files.other_authority })}</p>` : nothing}
      <p class="hint">${t('welcome.config')}</p>
      <pre class="lines">${answer}</pre>`;
  }

  #waiting() {
    const known = [...live.cameras.values()].filter(({ camera_id: id }) => this.#before?.has(id));
    return html`<p class="waiting" id="waiting" role="status"><span class="spinner small" aria-hidden="true"></span>${t('welcome.waiting')}</p>
      ${known.length > 0 ? html`<p class="hint">${t('welcome.known')}: ${known.map(({ camera_id: id, name }) => cameraName(id, name)).join(', ')}</p>` : nothing}
      <div aria-live="polite">${this.refused.length > 0 ? html`<h3>${t('welcome.refused')}</h3>
        <ul class="rows" id="refused">${repeat(this.refused, ({ ip_address: ip, cause, client }) => ip + cause.code + client, (one) => html`<li><p>${t('welcome.refused-from', {
          ip: one.ip_address, time: clock(one.at), why: reason(one.cause, one.text),
        })}</p></li>`)}</ul>` : nothing}</div>
      ${this.late || this.refused.length > 0 ? this.#reasons() : nothing}`;
  }

  #reasons() {
    const { host, port } = this.setUp.broker;
    return html`<h3>${t('welcome.nothing')}</h3><p class="hint">${t('welcome.nothing-hint')}</p>
      <ol class="reasons" id="reasons">
        <li>${t('welcome.why-address', { host, port: String(port) })}</li>
        <li>${t('welcome.why-clock')}</li>
        <li>${t('welcome.why-certificate')}</li>
        <li>${t('welcome.why-network', { port: String(port) })}</li>
      </ol>`;
  }

  /** @param {Camera} camera */
  #camera(camera) {
    const id = camera.camera_id;
    const label = submits(async (field) => {
      await call('PATCH', `/cameras/${id}`, { name: field('name'), room: field('room') });
      tell(t('label.kept'));
    });
    return html`<div role="status"><h3 id="arrived">${t('welcome.arrived')}</h3></div>
      <p class="facts mono">${id}</p>
      <form class="form inline" id="label-form" @submit=${label}>
        <label>${t('label.name')} <input name="name" id="label-name" maxlength="64" .defaultValue=${camera.name ?? ''}></label>
        <label>${t('label.room')} <input name="room" id="label-room" maxlength="64" .defaultValue=${camera.room ?? ''}></label>
        <button class="button primary">${t('save')}</button>
      </form>
      <h3>${t('welcome.picture')}</h3>
      <apiary-stage .camera=${id} .name=${cameraName(id, camera.name)} .poster=${camera.poster ? posterOf(camera) : ''} @player=${this.#onPlayer}></apiary-stage>
      <p class="hint" id="shows" role="status">${this.shows ? t('welcome.picture-here') : ''}</p>
      <button type="button" class="button" id="another" @click=${this.#another}>${t('welcome.another')}</button>`;
  }

  /** @param {CustomEvent<import('../media/player.js').Player>} event */
  #onPlayer({ detail: player }) {
    player.addEventListener('phase', () => {
      if (player.phase === 'playing') this.shows = true;
    });
  }
}
customElements.define('apiary-first-camera', FirstCamera);
