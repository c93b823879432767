// @ts-check
/** What strangers see: logging in, making the first administrator, opening a share link. */
import { html, nothing } from '../../vendor/lit.js';
import { call } from '../api.js';
import { t } from '../i18n/i18n.js';
import { AppElement } from '../parts/element.js';
import { mark } from '../parts/icons.js';
import { nextPage, whoAmI } from '../session.js';
import { sentence } from '../words.js';

const MIN_PASSWORD = 8;

/** A form that asks the server for something, once at a time; what goes wrong is said above it. */
class Gate extends AppElement {
  static properties = { problem: { state: true }, hint: { state: true }, busy: { state: true } };

  constructor() {
    super();
    this.problem = '';
    this.hint = '';
    this.busy = false;
  }

  connectedCallback() {
    super.connectedCallback();
    document.title = 'Apiary';
  }

  /** @param {() => Promise<unknown>} action */
  async submit(action) {
    this.busy = true;
    this.problem = '';
    try {
      await action();
    } catch (error) {
      this.problem = sentence(error instanceof Error ? error.message : String(error));
    }
    this.busy = false;
  }

  notice() {
    return html`<p class="notice ${this.problem ? 'bad' : ''}" id="notice" role="alert" ?hidden=${!this.problem && !this.hint}>${this.problem || this.hint}</p>`;
  }

  /** @param {string} selector */
  value(selector) {
    return this.find(selector, HTMLInputElement).value;
  }

  nameField() {
    return html`<label>${t('gate.name')} <input id="name" name="username" autocomplete="username" autocapitalize="none" spellcheck="false" required maxlength="64"></label>`;
  }
}

class Login extends Gate {
  static properties = { ...Gate.properties, provider: { state: true } };

  constructor() {
    super();
    /** @type {{name: string, path: string} | null} */ this.provider = null;
  }

  connectedCallback() {
    super.connectedCallback();
    void whoAmI().then(({ user, needs_setup: needsSetup, provider }) => {
      this.provider = provider;
      if (user && !user.guest) location.replace(nextPage());
      if (needsSetup) this.hint = t('login.needs-setup');
      else if (new URLSearchParams(location.search).has('ended')) this.hint = t('login.ended');
    }, (error) => { this.problem = error.message; });
  }

  #onSubmit = (/** @type {Event} */ event) => {
    event.preventDefault();
    void this.submit(async () => {
      await call('POST', '/api/auth/login', { name: this.value('#name'), password: this.value('#password') });
      location.replace(nextPage());
    });
  };

  render() {
    return html`${mark()}<h1>Apiary</h1>${this.notice()}
      <form class="panel form" id="form" @submit=${this.#onSubmit}>
        ${this.nameField()}
        <label>${t('gate.password')} <input id="password" name="password" type="password" autocomplete="current-password" required></label>
        <button class="button primary" id="submit" ?disabled=${this.busy}>${t('login.submit')}</button>
      </form>
      ${this.provider ? html`<a class="button" id="provider" href="${this.provider.path}?next=${encodeURIComponent(nextPage())}">${t('login.provider', { name: this.provider.name })}</a>` : nothing}`;
  }
}
customElements.define('apiary-login', Login);

/** With the secret that stands behind `#` in the address. */
class SetUp extends Gate {
  #secret = location.hash.slice(1);

  connectedCallback() {
    super.connectedCallback();
    // Neither the history nor somebody who looks over a shoulder needs it.
    history.replaceState(null, '', location.pathname);
    if (!this.#secret) this.problem = t('setup.not-whole');
  }

  #onSubmit = (/** @type {Event} */ event) => {
    event.preventDefault();
    void this.submit(async () => {
      const password = this.value('#password');
      if (password !== this.value('#again')) throw new Error(t('setup.differ'));
      await call('POST', '/api/auth/setup', { secret: this.#secret, name: this.value('#name'), password });
      location.replace('/welcome');
    });
  };

  render() {
    return html`${mark()}<h1>${t('setup.title')}</h1><p class="hint">${t('setup.hint')}</p>${this.notice()}
      ${this.#secret ? html`<form class="panel form" id="form" @submit=${this.#onSubmit}>
        ${this.nameField()}
        <label>${t('setup.password', { n: MIN_PASSWORD })} <input id="password" name="password" type="password" autocomplete="new-password" minlength=${MIN_PASSWORD} required></label>
        <label>${t('setup.again')} <input id="again" type="password" autocomplete="new-password" minlength=${MIN_PASSWORD} required></label>
        <button class="button primary" id="submit" ?disabled=${this.busy}>${t('setup.submit')}</button>
      </form>` : nothing}`;
  }
}
customElements.define('apiary-setup', SetUp);

/** What the link holds stands behind `#`, and so in no log of any server on the way. */
class Share extends Gate {
  connectedCallback() {
    super.connectedCallback();
    this.hint = t('share.opening');
    void this.submit(async () => {
      const { user } = await call('POST', '/api/auth/share', { token: location.hash.slice(1) });
      const camera = user.cameras[0];
      if (!camera) throw new Error(t('share.over'));
      location.replace(`/viewer?camera=${encodeURIComponent(camera)}`);
    });
  }

  render() {
    return html`${mark()}<h1>${t('share.title')}</h1>${this.notice()}`;
  }
}
customElements.define('apiary-share', Share);
