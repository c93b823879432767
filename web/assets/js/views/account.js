// @ts-check
/**
 * One's account: where one is logged in, what one shares, tokens, password, language. Administrators see what everybody shares and
 * where everybody is logged in.
 */
import { html, nothing, repeat } from '../../vendor/lit.js';
import { call } from '../api.js';
import { now } from '../clock.js';
import { LANGUAGES, language, speak, t } from '../i18n/i18n.js';
import { live, Watching } from '../live.js';
import { AppElement } from '../parts/element.js';
import { submits } from '../parts/form.js';
import { attempt, tell } from '../parts/notice.js';
import '../parts/notifications.js';
import { rows } from '../parts/rows.js';
import { heard, me } from '../session.js';
import { cameraName, moment, roleWords } from '../words.js';

const HOUR_MS = 3_600_000;
/** For how long links can be made, in hours. */
const SHARE_HOURS = /** @type {const} */ ([1, 24, 168, 720]);
export const ROLES = ['viewer', 'operator', 'admin'];

export class Account extends AppElement {
  static properties = { shares: { state: true }, sessions: { state: true }, tokens: { state: true }, secret: { state: true }, link: { state: true } };

  constructor() {
    super();
    new Watching(this);
    /** @type {any[]} */ this.shares = [];
    /** @type {any[]} */ this.sessions = [];
    /** @type {any[]} */ this.tokens = [];
    /** A new token, shown once. */ this.secret = '';
    /** A link that could not be copied. */ this.link = '';
  }

  connectedCallback() {
    super.connectedCallback();
    document.title = `${t('nav.account')} · Apiary`;
    void heard.then(() => this.#read());
  }

  async #read() {
    if (!me.hasAccount) return;
    await attempt(async () => {
      const [{ shares }, { sessions }, { tokens }] = await Promise.all([
        call('GET', '/api/shares'), call('GET', '/api/auth/sessions'), call('GET', '/api/tokens'),
      ]);
      Object.assign(this, { shares, sessions, tokens });
    });
  }

  render() {
    if (!me.user) return nothing;
    return html`<div class="account">
      <h1>${me.hasAccount ? me.user.name : t('nav.account')}</h1>
      ${me.hasAccount ? html`
        <p class="hint" id="who">${roleWords(me.user.role)}</p>
        ${this.#sharePanel()} ${this.#sessionPanel()} ${this.#tokenPanel()} ${me.user.password ? this.#passwordPanel() : nothing}`
        : html`<p class="notice">${t('account.off')}</p>`}
      ${me.user.guest ? nothing : html`<apiary-notifications></apiary-notifications>`}
      ${this.#languagePanel()}
      ${me.hasAccount ? html`<button type="button" class="button" id="log-out" @click=${this.#logOut}>${t('account.log-out')}</button>` : nothing}
    </div>`;
  }

  /** @param {string} link */
  async #copy(link) {
    this.link = '';
    try {
      await navigator.clipboard.writeText(link);
      tell(t('shares.copied'));
    } catch {
      this.link = link; // without HTTPS browsers have no clipboard for pages
    }
  }

  #sharePanel() {
    const share = submits(async (field) => {
      const ends = new Date(now() + Number(field('time')) * HOUR_MS);
      const made = await call('POST', '/api/shares', { camera_id: field('camera'), label: field('label'), expires_at: ends.toISOString() });
      await this.#read();
      await this.#copy(location.origin + made.path);
    });
    return html`<section class="panel" aria-labelledby="shares-title">
      <h2 id="shares-title">${t('shares.title')}</h2>
      <p class="hint">${t('shares.hint')}</p>
      ${rows('shares', this.shares.map((one) => ({
        key: one.id,
        title: t('shares.row', { camera: nameOf(one.camera_id), label: one.label }),
        facts: t('until', { time: moment(one.expires_at) }),
        actions: [
          { words: t('shares.copy'), act: () => this.#copy(location.origin + one.path) },
          { words: t('end'), act: () => this.#end(`/api/shares/${one.id}`), id: 'end' },
        ],
      })), t('shares.none'))}
      <p class="hint" ?hidden=${!this.link}>${t('shares.by-hand')}</p>
      <p class="secret mono" id="share-link" ?hidden=${!this.link}>${this.link}</p>
      <form class="form inline" id="share-form" @submit=${share}>
        <label>${t('shares.camera')} <select name="camera" id="share-camera" required>
          ${repeat(live.cameras.values(), (camera) => camera.camera_id, (camera) => html`<option value=${camera.camera_id}>${cameraName(camera.camera_id, camera.name)}</option>`)}
        </select></label>
        <label>${t('shares.label')} <input name="label" id="share-label" required maxlength="100" placeholder=${t('shares.label-example')}></label>
        <label>${t('shares.time')} <select name="time" id="share-time">
          ${SHARE_HOURS.map((hours) => html`<option value=${hours} ?selected=${hours === 24}>${t(`hours.${hours}`)}</option>`)}
        </select></label>
        <button class="button primary">${t('shares.make')}</button>
      </form>
    </section>`;
  }

  #sessionPanel() {
    return html`<section class="panel" aria-labelledby="sessions-title">
      <h2 id="sessions-title">${t('sessions.title')}</h2>
      ${rows('sessions', this.sessions.map((one) => ({
        key: one.id,
        title: one.current ? t('sessions.this', { user: one.user }) : one.user,
        facts: [one.user_agent, one.ip_address, t('since', { time: moment(one.created_at) })].filter(Boolean).join(' · '),
        actions: one.current ? [] : [{ words: t('end'), act: () => this.#end(`/api/auth/sessions/${one.id}`) }],
      })), t('sessions.none'))}
    </section>`;
  }

  #tokenPanel() {
    const make = submits(async (field) => {
      const { token } = await call('POST', '/api/tokens', { name: field('name'), role: field('role') });
      this.secret = token;
      await this.#read();
    });
    return html`<section class="panel" aria-labelledby="tokens-title">
      <h2 id="tokens-title">${t('tokens.title')}</h2>
      <p class="hint">${t('tokens.hint')}</p>
      ${rows('tokens', this.tokens.map((one) => ({
        key: one.id,
        title: one.name,
        facts: [roleWords(one.role), seen(one.cameras), one.expires_at && t('until', { time: moment(one.expires_at) })].filter(Boolean).join(' · '),
        actions: [{ words: t('end'), act: () => this.#end(`/api/tokens/${one.id}`) }],
      })), t('tokens.none'))}
      <form class="form inline" id="token-form" @submit=${make}>
        <label>${t('tokens.name')} <input name="name" id="token-name" required maxlength="100"></label>
        <label>${t('role')} ${roleSelect('token-role', 'viewer')}</label>
        <button class="button primary">${t('tokens.make')}</button>
      </form>
      <p class="secret mono" id="token-secret" ?hidden=${!this.secret}>${this.secret}</p>
    </section>`;
  }

  #passwordPanel() {
    const change = submits(async (field) => {
      await call('POST', '/api/auth/password', { current: field('now'), new: field('new') });
      tell(t('password.changed'));
      await this.#read();
    });
    return html`<section class="panel" aria-labelledby="password-title">
      <h2 id="password-title">${t('gate.password')}</h2>
      <form class="form inline" id="password-form" @submit=${change}>
        <label>${t('password.now')} <input name="now" id="password-now" type="password" autocomplete="current-password" required></label>
        <label>${t('password.new')} <input name="new" id="password-new" type="password" autocomplete="new-password" minlength="8" required></label>
        <button class="button primary">${t('password.change')}</button>
      </form>
    </section>`;
  }

  #languagePanel() {
    const chosen = (/** @type {Event} */ event) => speak(/** @type {import('../i18n/i18n.js').Language} */ (/** @type {HTMLSelectElement} */ (event.target).value));
    return html`<section class="panel" aria-labelledby="language-title">
      <h2 id="language-title">${t('language')}</h2>
      <div class="form"><select id="language" aria-labelledby="language-title" @change=${chosen}>
        ${Object.entries(LANGUAGES).map(([tag, name]) => html`<option value=${tag} lang=${tag} ?selected=${tag === language}>${name}</option>`)}
      </select></div>
    </section>`;
  }

  /** @param {string} path */
  async #end(path) {
    if (await attempt(() => call('DELETE', path))) await this.#read();
  }

  async #logOut() {
    live.leave();
    if (await attempt(() => call('POST', '/api/auth/logout'))) location.replace('/login');
    else location.reload();
  }
}
customElements.define('apiary-account', Account);

/**
 * Nobody gives more than they have.
 *
 * @param {string} id
 * @param {string} chosen
 */
export function roleSelect(id, chosen) {
  const most = ROLES.indexOf(me.user?.role ?? 'viewer');
  return html`<select name="role" id=${id}>${ROLES.map((role, rank) => html`<option value=${role} ?selected=${role === chosen}
    ?disabled=${rank > most}>${roleWords(role)}</option>`)}</select>`;
}

/** @param {string} camera */
export function nameOf(camera) {
  return cameraName(camera, live.cameras.get(camera)?.name);
}

/** @param {string[] | null} cameras */
export function seen(cameras) {
  return cameras === null ? t('cameras.all') : cameras.map(nameOf).join(', ') || t('cameras.no');
}
