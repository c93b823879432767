// @ts-check
/** For administrators: how the server does, users and what they may see, webhooks, the log, the settings. */
import { html, keyed, nothing, repeat } from '../../vendor/lit.js';
import { call } from '../api.js';
import { reason, t } from '../i18n/i18n.js';
import { live, Watching } from '../live.js';
import { AppElement } from '../parts/element.js';
import { submits, ticked } from '../parts/form.js';
import { attempt, tell } from '../parts/notice.js';
import { rows } from '../parts/rows.js';
import '../parts/system.js';
import { heard, me } from '../session.js';
import { cameraName, roleWords } from '../words.js';
import { roleSelect, seen } from './account.js';

/** A receiver of webhooks has ten seconds to answer. */
const WEBHOOKS_TIMEOUT_MS = 15_000;

/**
 * @typedef {{id: string, name: string, role: string, cameras: string[] | null, provided: boolean}} User `provided`: logs in elsewhere
 * @typedef {{receiver: string, delivered: boolean, status: number | null, error: string | null,
 *   cause?: import('../i18n/i18n.js').Cause}} Report
 */

export class Admin extends AppElement {
  static properties = { users: { state: true }, edited: { state: true }, reports: { state: true }, testing: { state: true } };

  constructor() {
    super();
    new Watching(this);
    /** @type {User[]} */ this.users = [];
    /** Whose rights are being changed. @type {User | null} */ this.edited = null;
    /** What came of the webhooks' test. @type {Report[]} */ this.reports = [];
    this.testing = false;
  }

  connectedCallback() {
    super.connectedCallback();
    document.title = `${t('admin.title')} · Apiary`;
    void heard.then(() => this.#read());
  }

  async #read() {
    if (!me.hasAccount) return;
    await attempt(async () => { this.users = (await call('GET', '/api/users')).users; });
  }

  render() {
    if (!me.isAdmin) return me.user ? html`<p class="notice bad">${t('admin.only')}</p>` : nothing;
    return html`<div class="account">
      <h1>${t('admin.title')}</h1>
      <p><a class="button" id="welcome" href="/welcome">${t('welcome.open')}</a></p>
      <apiary-system></apiary-system>
      ${me.hasAccount ? this.#userPanel() : html`<p class="notice">${t('account.off')}</p>`}
      ${this.#webhookPanel()}
      <apiary-log></apiary-log>
      <apiary-settings></apiary-settings>
    </div>`;
  }

  #userPanel() {
    return html`<section class="panel" id="users-panel" aria-labelledby="users-title">
      <h2 id="users-title">${t('users.title')}</h2>
      ${rows('users', this.users.map((user) => ({
        key: user.id,
        title: user.name,
        facts: `${roleWords(user.role)} · ${seen(user.cameras)}`,
        actions: [
          { words: t('change'), act: () => { this.edited = user; }, id: 'change' },
          { words: t('remove'), act: () => this.#remove(user), id: 'remove' },
        ],
      })), '')}
      ${this.edited ? this.#change(this.edited) : this.#add()}
    </section>`;
  }

  #add() {
    const add = submits(async (field, form) => {
      await call('POST', '/api/users', { name: field('name'), password: field('password'), role: field('role'), cameras: chosenCameras(form, null) });
      await this.#read();
    });
    return html`<form class="form inline" id="user-form" @submit=${add}>
      <label>${t('gate.name')} <input name="name" id="user-name" autocomplete="off" autocapitalize="none" spellcheck="false" required maxlength="64"></label>
      <label>${t('gate.password')} <input name="password" id="user-password" type="password" autocomplete="new-password" minlength="8" required></label>
      <label>${t('role')} ${roleSelect('user-role', 'viewer')}</label>
      ${cameraBoxes(null)}
      <button class="button primary">${t('users.add')}</button>
    </form>`;
  }

  /** @param {User} user */
  #change(user) {
    const change = submits(async (field, form) => {
      const own = user.provided ? {} : { role: field('role'), ...(field('password') && { password: field('password') }) };
      await call('PATCH', `/api/users/${user.id}`, { ...own, cameras: chosenCameras(form, user.cameras) });
      this.edited = null;
      await this.#read();
    });
    // A form of its own for each: what was chosen for one is not to be saved for another.
    return keyed(user.id, html`<form class="form inline" id="user-change" @submit=${change}>
      <h3>${t('users.change', { name: user.name })}</h3>
      ${user.provided
        ? html`<p class="hint">${t('users.provided')}</p>`
        : html`<label>${t('role')} ${roleSelect('change-role', user.role)}</label>
            <label>${t('users.password')} <input name="password" id="change-password" type="password" autocomplete="new-password" minlength="8"></label>`}
      ${cameraBoxes(user.cameras)}
      <button class="button primary">${t('save')}</button>
      <button type="button" class="button" @click=${() => { this.edited = null; }}>${t('cancel')}</button>
    </form>`);
  }

  /** @param {User} user */
  async #remove(user) {
    if (!confirm(t('users.remove-really', { name: user.name }))) return;
    if (await attempt(() => call('DELETE', `/api/users/${user.id}`))) await this.#read();
  }

  #webhookPanel() {
    return html`<section class="panel" id="webhooks-panel" aria-labelledby="webhooks-title">
      <h2 id="webhooks-title">${t('webhooks.title')}</h2>
      <p class="hint">${t('webhooks.hint')}</p>
      <div aria-live="polite">${rows('webhooks', this.reports.map(({ receiver, delivered, status, error, cause }) => ({
        key: receiver,
        title: receiver,
        facts: delivered ? t('webhooks.took', { status: status ?? 0 }) : reason(cause, error ?? ''),
        actions: [],
      })), '')}</div>
      <button type="button" class="button" id="webhooks-test" ?disabled=${this.testing} @click=${this.#testWebhooks}>${t('webhooks.test')}</button>
    </section>`;
  }

  async #testWebhooks() {
    this.testing = true;
    tell('');
    await attempt(async () => {
      this.reports = (await call('POST', '/api/webhooks/test', undefined, WEBHOOKS_TIMEOUT_MS)).receivers;
    });
    this.testing = false;
  }
}
customElements.define('apiary-admin', Admin);

/** @param {string[] | null} chosen null for all */
function cameraBoxes(chosen) {
  return html`<fieldset class="user-cameras"><legend>${t('users.cameras')}</legend>
    <label><input type="checkbox" name="all" ?checked=${chosen === null}>${t('cameras.all')}</label>
    ${repeat(live.cameras.values(), (camera) => camera.camera_id, (camera) => html`<label class="one"><input type="checkbox" name="camera"
      value=${camera.camera_id} ?checked=${chosen?.includes(camera.camera_id) ?? false}>${cameraName(camera.camera_id, camera.name)}</label>`)}</fieldset>`;
}

/**
 * @param {HTMLFormElement} form
 * @param {string[] | null} before cameras without a box, which were never heard of yet, stay as they were
 */
function chosenCameras(form, before) {
  if (ticked(form, 'all').length > 0) return null;
  return [...ticked(form, 'camera'), ...(before ?? []).filter((camera) => !live.cameras.has(camera))];
}
