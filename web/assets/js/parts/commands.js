// @ts-check
/**
 * What one can tell a camera: its mode, sounds, settings, a restart. What one wants is shown as wanted until the camera itself
 * reports it.
 *
 * @typedef {import('../api.js').Camera} Camera
 * @typedef {string | boolean} Value
 */
import { html, nothing } from '../../vendor/lit.js';
import { call } from '../api.js';
import { modeWords } from '../happenings.js';
import { t, text } from '../i18n/i18n.js';
import { live } from '../live.js';
import { AppElement, GIVEN } from './element.js';
import { submits } from './form.js';
import { attempt, tell } from './notice.js';

const MODES = ['ARMED', 'LIVESTREAMONLY', 'PRIVACY'];
const LEVELS = ['LOW', 'MEDIUM', 'HIGH'];
/**
 * The settings, and the values that are known of each; a camera that reports another one is believed. Those that only the
 * switched-off cloud used are left out.
 * @type {Record<string, string[] | 'switch'>}
 */
const SETTINGS = {
  resolution: ['720p', '1080p'],
  frameRate: ['15', '20', '25', '30'],
  nightVision: ['AUTO', 'ON', 'OFF'],
  cameraZoom: ['1X', '2X', '4X', '8X'],
  invertImage: 'switch',
  wdr: 'switch',
  motionDetection: ['SMART', 'ALL', 'OFF'],
  motionSensitivity: LEVELS,
  audioDetection: ['ALL', 'OFF'],
  audioSensitivity: LEVELS,
  soundAlert: 'switch',
  cameraAudio: 'switch',
  volume: LEVELS,
  ledDot: 'switch',
  ledRing: 'switch',
};
/** Commands may wait for a broker that is away; the server gives up before this. In milliseconds. */
const TIMEOUT_MS = 15_000;

export class Commands extends AppElement {
  static properties = { camera: { attribute: false }, reported: { state: true }, wanted: { state: true }, wantedMode: { state: true } };

  #onEvent = (/** @type {Event} */ news) => {
    const event = /** @type {CustomEvent<import('../api.js').CameraEvent>} */ (news).detail;
    if (event.camera_id === this.camera.camera_id && event.kind === 'state') void this.#read();
  };

  constructor() {
    super();
    this.camera = /** @type {Camera} */ (GIVEN);
    /** As the camera last said. @type {Record<string, Value> | null} */ this.reported = null;
    /** What was sent, and is not reported yet. @type {Record<string, Value>} */ this.wanted = {};
    this.wantedMode = '';
  }

  connectedCallback() {
    super.connectedCallback();
    live.addEventListener('event', this.#onEvent);
  }

  disconnectedCallback() {
    super.disconnectedCallback();
    live.removeEventListener('event', this.#onEvent);
  }

  firstUpdated() {
    void this.#read();
  }

  /** @param {import('../../vendor/lit.js').PropertyValues} changed */
  willUpdate(changed) {
    if (changed.has('camera') && this.camera.mode === this.wantedMode) this.wantedMode = '';
  }

  async #read() {
    const detail = await call('GET', `/cameras/${this.camera.camera_id}`).catch(() => null);
    const settings = detail?.settings?.settings ?? detail?.settings;
    if (!settings) return;
    this.reported = settings;
    this.wanted = Object.fromEntries(Object.entries(this.wanted).filter(([name, value]) => settings[name] !== value));
  }

  render() {
    const offline = this.camera.online === false;
    return html`<section class="panel commands" aria-labelledby="commands-title">
      <h2 id="commands-title">${t('commands.title')}</h2>
      ${offline ? html`<p class="hint">${t('commands.offline')}</p>` : nothing}
      <fieldset class="segments" ?disabled=${offline}>
        <legend class="visually-hidden">${t('mode.title')}</legend>
        ${MODES.map((mode) => this.#mode(mode))}
      </fieldset>
      <p class="hint" id="mode-hint" role="status">${this.wantedMode ? t('commands.waiting') : modeHint(this.camera.mode)}</p>
      <div class="actions">
        <button type="button" class="button" id="sound-play" ?disabled=${offline} @click=${() => this.#send('POST', 'sound', t('commands.sound-sent'), { sound_type: 'ALARM' })}>${t('commands.sound')}</button>
        <button type="button" class="button" id="sound-stop" ?disabled=${offline} @click=${() => this.#send('DELETE', 'sound', t('commands.sound-stopped'))}>${t('commands.silence')}</button>
        <button type="button" class="button" id="reboot" ?disabled=${offline} @click=${this.#reboot}>${t('commands.reboot')}</button>
      </div>
      <details id="label"><summary>${t('label.title')}</summary>${this.#label()}</details>
      <details id="settings"><summary>${t('settings.title')}</summary>
        <div class="form settings">${Object.entries(SETTINGS).map(([name, values]) => this.#setting(name, values, offline))}</div>
      </details>
    </section>`;
  }

  #label() {
    const rooms = new Set([...live.cameras.values()].map((camera) => camera.room).filter((room) => room !== null));
    const keep = submits(async (field, form) => {
      await call('PATCH', `/cameras/${this.camera.camera_id}`, { name: field('name').trim() || null, room: field('room').trim() || null });
      // What it holds now is what it is to begin with when it is emptied.
      for (const input of form.querySelectorAll('input')) input.defaultValue = input.value;
      tell(t('label.kept'));
    });
    return html`<form class="form settings" @submit=${keep}>
      <label>${t('label.name')} <input name="name" maxlength="64" value=${this.camera.name ?? ''}></label>
      <label>${t('label.room')} <input name="room" maxlength="64" list="rooms" value=${this.camera.room ?? ''}></label>
      <datalist id="rooms">${[...rooms].map((room) => html`<option value=${room}></option>`)}</datalist>
      <button class="button primary">${t('save')}</button>
    </form>`;
  }

  /** @param {string} mode */
  #mode(mode) {
    const chosen = (this.wantedMode || this.camera.mode) === mode;
    return html`<label class="segment"><input type="radio" name="mode" value=${mode} .checked=${chosen}
      @change=${() => this.#setMode(mode)}><span>${modeWords(mode)}</span></label>`;
  }

  /**
   * @param {string} name
   * @param {string[] | 'switch'} values
   * @param {boolean} disabled
   */
  #setting(name, values, disabled) {
    const value = this.wanted[name] ?? this.reported?.[name];
    const label = text(`settings.${name}`) ?? name;
    const state = name in this.wanted ? html`<span class="spinner small" role="img" aria-label=${t('commands.waiting')}></span>` : nothing;
    if (values === 'switch') {
      return html`<label class="switch"><input type="checkbox" role="switch" name=${name} .checked=${value === true} ?disabled=${disabled}
          @change=${(/** @type {Event} */ event) => this.#set(name, /** @type {HTMLInputElement} */ (event.target).checked)}>
        <span class="track" aria-hidden="true"></span><span>${label}</span>${state}</label>`;
    }
    const offered = typeof value === 'string' && !values.includes(value) ? [...values, value] : values;
    return html`<label>${label}<span class="with-state"><select name=${name} ?disabled=${disabled}
        @change=${(/** @type {Event} */ event) => this.#set(name, /** @type {HTMLSelectElement} */ (event.target).value)}>
      ${value === undefined ? html`<option selected disabled>–</option>` : nothing}
      ${offered.map((offer) => html`<option value=${offer} .selected=${offer === value}>${valueWords(offer)}</option>`)}
    </select>${state}</span></label>`;
  }

  /** @param {string} mode */
  async #setMode(mode) {
    this.wantedMode = mode;
    const sent = await attempt(() => call('PUT', this.#path('mode'), { mode }, TIMEOUT_MS));
    if (!sent) this.wantedMode = '';
  }

  /**
   * @param {string} name
   * @param {Value} value
   */
  async #set(name, value) {
    this.wanted = { ...this.wanted, [name]: value };
    const sent = await attempt(() => call('PUT', this.#path('settings'), { [name]: value }, TIMEOUT_MS));
    if (sent) return;
    const { [name]: _, ...others } = this.wanted;
    this.wanted = others;
  }

  async #reboot() {
    if (confirm(t('commands.reboot-really'))) await this.#send('POST', 'reboot', t('commands.reboot-sent'));
  }

  /**
   * @param {string} method
   * @param {string} what
   * @param {string} done
   * @param {object} [body]
   */
  async #send(method, what, done, body) {
    if (await attempt(() => call(method, this.#path(what), body, TIMEOUT_MS))) tell(done);
  }

  /** @param {string} what */
  #path(what) {
    return `/cameras/${this.camera.camera_id}/${what}`;
  }
}
customElements.define('apiary-commands', Commands);

/** @param {string | null} mode */
function modeHint(mode) {
  switch (mode) {
    case 'ARMED': return t('mode.ARMED-hint');
    case 'LIVESTREAMONLY': return t('mode.LIVESTREAMONLY-hint');
    case 'PRIVACY': return t('mode.PRIVACY-hint');
    default: return t('mode.unknown-hint');
  }
}

/** @param {string} value */
function valueWords(value) {
  return text(`value.${value}`) ?? value;
}
