// @ts-check
/** Notifications on this device: switched on after a tap, what of, when not; and the other devices of the same user. */
import { html, nothing } from '../../vendor/lit.js';
import { call } from '../api.js';
import { reason, t, text } from '../i18n/i18n.js';
import { live, Watching } from '../live.js';
import { known, obstacle, subscribe, unsubscribe } from '../push.js';
import { cameraName, moment } from '../words.js';
import { AppElement } from './element.js';
import { attempt, tell } from './notice.js';
import { rows } from './rows.js';

/** What is proposed. */
const NIGHT = { from: '22:00', until: '07:00' };

/** The server asks another one before it answers. */
const TEST_TIMEOUT_MS = 15_000;

/** @typedef {import('../push.js').Device} Device */

class Notifications extends AppElement {
  static properties = { state: { state: true }, mine: { state: true }, busy: { state: true } };

  constructor() {
    super();
    new Watching(this);
    /** @type {import('../push.js').PushState | null} */ this.state = null;
    /** This device, if it is notified. @type {Device | null} */ this.mine = null;
    this.busy = false;
  }

  connectedCallback() {
    super.connectedCallback();
    void attempt(async () => {
      this.mine = await known();
      await this.#read();
    });
  }

  async #read() {
    this.state = await call('GET', '/api/push');
    const mine = this.state?.subscriptions.find((one) => one.id === this.mine?.id);
    this.mine = mine ?? null;
  }

  /** @param {() => Promise<unknown>} action done once at a time */
  async #do(action) {
    if (this.busy) return;
    this.busy = true;
    await attempt(action);
    this.busy = false;
  }

  render() {
    if (!this.state) return nothing;
    const others = this.state.subscriptions.filter((one) => one.id !== this.mine?.id);
    return html`<section class="panel" aria-labelledby="push-title">
      <h2 id="push-title">${t('push.title')}</h2>
      <p class="hint">${t('push.hint')}</p>
      ${this.mine ? this.#wishes(this.mine) : this.#switchOn(this.state.public_key)}
      ${others.length === 0 ? nothing : html`<h3>${t('push.others')}</h3>
        ${rows('push-others', others.map((one) => ({
          key: one.id,
          title: one.name,
          facts: [t('since', { time: moment(one.created_at) }), one.paused && t('push.paused'), !one.logged_in && t('push.logged-out')].filter(Boolean).join(' · '),
          actions: [{ words: t('remove'), act: () => this.#do(() => this.#remove(one)) }],
        })), '')}`}
    </section>`;
  }

  /** @param {string | null} publicKey */
  #switchOn(publicKey) {
    const why = publicKey === null ? 'push.off' : obstacle();
    if (why) return html`<p class="notice" id="push-obstacle">${t(why)}</p>`;
    const switchOn = () => this.#do(async () => {
      this.mine = await subscribe(publicKey ?? '');
      await this.#read();
      tell(t('push.is-on'));
    });
    return html`<button type="button" class="button primary" id="push-on" ?disabled=${this.busy} @click=${switchOn}>${t('push.on')}</button>`;
  }

  /** @param {Device} mine */
  #wishes(mine) {
    const quiet = mine.quiet_hours;
    return html`<form class="form" id="push-form" @submit=${(/** @type {Event} */ event) => event.preventDefault()} @change=${this.#changed}>
      <label class="switch"><input type="checkbox" name="paused" id="push-paused" ?checked=${mine.paused}><span class="track" aria-hidden="true"></span><span>${t('push.pause')}</span></label>
      <fieldset><legend>${t('push.kinds')}</legend>
        ${this.state?.kinds.map((kind) => html`<label><input type="checkbox" name="kind" value=${kind} ?checked=${mine.kinds.includes(kind)}>${text(`push.kind.${kind}`) ?? kind}</label>`)}
      </fieldset>
      <fieldset><legend>${t('push.cameras')}</legend>
        <label><input type="checkbox" name="all" id="push-all" ?checked=${mine.cameras === null}>${t('cameras.all')}</label>
        ${mine.cameras === null ? nothing : [...live.cameras.values()].map((camera) => html`<label><input type="checkbox" name="camera" value=${camera.camera_id}
          ?checked=${mine.cameras?.includes(camera.camera_id) ?? false}>${cameraName(camera.camera_id, camera.name)}</label>`)}
      </fieldset>
      <fieldset><legend>${t('push.quiet')}</legend>
        <label><input type="checkbox" name="quiet" id="push-quiet" ?checked=${quiet !== null}>${t('push.quiet-on')}</label>
        ${quiet === null ? nothing : html`
          <label>${t('push.from')} <input type="time" name="from" id="push-from" required value=${quiet.from}></label>
          <label>${t('push.until')} <input type="time" name="until" id="push-until" required value=${quiet.until}></label>
          <span class="hint">${t('push.zone', { zone: quiet.time_zone })}</span>`}
      </fieldset>
      <div class="actions">
        <button type="button" class="button" id="push-test" ?disabled=${this.busy} @click=${() => this.#do(() => this.#test(mine))}>${t('push.test')}</button>
        <button type="button" class="button" id="push-off" ?disabled=${this.busy} @click=${() => this.#do(() => this.#switchOff(mine))}>${t('push.switch-off')}</button>
      </div>
    </form>`;
  }

  /** What was changed counts at once. */
  #changed = async (/** @type {Event} */ event) => {
    const form = /** @type {HTMLFormElement} */ (event.currentTarget);
    const { mine } = this;
    if (!mine || !form.reportValidity()) return;
    const wishes = new FormData(form);
    const chosen = (/** @type {string} */ name) => wishes.getAll(name).map(String);
    const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
    const quiet = { from: chosen('from')[0] ?? NIGHT.from, until: chosen('until')[0] ?? NIGHT.until, time_zone: zone };
    const went = await attempt(async () => {
      this.mine = await call('PATCH', `/api/push/subscriptions/${mine.id}`, {
        kinds: chosen('kind'),
        cameras: wishes.has('all') ? null : chosen('camera'),
        quiet_hours: wishes.has('quiet') ? quiet : null,
        paused: wishes.has('paused'),
      });
    });
    if (!went) form.reset(); // to what the server knows
  };

  /** @param {Device} mine */
  async #test(mine) {
    const { delivered, error, cause } = await call('POST', `/api/push/subscriptions/${mine.id}/test`, undefined, TEST_TIMEOUT_MS);
    if (!delivered) throw new Error(reason(cause, error));
    tell(t('push.sent'));
  }

  /** @param {Device} mine */
  async #switchOff(mine) {
    await unsubscribe(mine);
    await this.#read();
  }

  /** @param {Device} other */
  async #remove(other) {
    await call('DELETE', `/api/push/subscriptions/${other.id}`);
    await this.#read();
  }
}
customElements.define('apiary-notifications', Notifications);
