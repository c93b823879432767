// @ts-check
/**
 * The set-up assistant: from the account over what cameras are told to a first camera's picture. Each step can be passed over and
 * come back to; nothing here changes a setting: what is to be written into the settings is shown.
 *
 * @typedef {import('../parts/first-camera.js').FirstCameraSetUp} FirstCameraSetUp
 * @typedef {import('../parts/system.js').Finding} Finding
 * @typedef {FirstCameraSetUp & {
 *   addresses: {local: string, local_source: string, external: string | null, own: string[], findings: Finding[], lines: string | null},
 *   broker: {embedded: boolean, connected: boolean, certificate: {names: string[], valid_until: string} | null,
 *     findings: Finding[], lines: string | null}
 * }} SetUp
 */
import { html, nothing } from '../../vendor/lit.js';
import { call } from '../api.js';
import { reason, t } from '../i18n/i18n.js';
import { live, Watching } from '../live.js';
import { AppElement, GIVEN } from '../parts/element.js';
import '../parts/first-camera.js';
import { attempt } from '../parts/notice.js';
import { me, WELCOMED_KEY } from '../session.js';
import { moment, sentence } from '../words.js';

/** The doctor asks the broker and the database, which may not answer. */
const LOOK_TIMEOUT_MS = 30_000;
/** By their names in the address. */
const STEPS = /** @type {const} */ (['account', 'addresses', 'broker', 'camera']);
/** @typedef {typeof STEPS[number]} Step */

export class Welcome extends AppElement {
  static properties = { step: { attribute: false }, setUp: { state: true }, looking: { state: true } };

  constructor() {
    super();
    new Watching(this);
    /** Its name, '' for the first. */ this.step = /** @type {string} */ (GIVEN);
    /** @type {SetUp | null} */ this.setUp = null;
    this.looking = false;
  }

  connectedCallback() {
    super.connectedCallback();
    document.title = `${t('welcome.title')} · Apiary`;
    void this.#look();
  }

  async #look() {
    this.looking = true;
    await attempt(async () => { this.setUp = await call('GET', '/api/setup', undefined, LOOK_TIMEOUT_MS); });
    this.looking = false;
  }

  /** @param {import('../../vendor/lit.js').PropertyValues} changed */
  updated(changed) {
    // Who goes on hears where they are; who comes begins at the top.
    if (changed.get('step') !== undefined) this.querySelector('h2')?.focus();
  }

  /** @returns {Step} */
  get #current() {
    return STEPS.find((step) => step === this.step) ?? STEPS[0];
  }

  render() {
    if (!me.isAdmin) return me.user ? html`<p class="notice bad">${t('admin.only')}</p>` : nothing;
    const current = this.#current;
    const at = STEPS.indexOf(current);
    const [before, next] = [STEPS[at - 1], STEPS[at + 1]];
    return html`<div class="account welcome">
      <h1>${t('welcome.title')}</h1>
      <nav aria-label=${t('welcome.steps')}><ol class="steps">${STEPS.map((step, index) => html`<li>
        <a href="/welcome?step=${step}" aria-current=${step === current ? 'step' : nothing} data-level=${this.#level(step)}><span
          class="step-number" aria-hidden="true">${index + 1}</span>${t(`welcome.${step}`)}</a></li>`)}</ol></nav>
      <section class="panel" id="step" data-step=${current} aria-labelledby="step-title">
        <p class="hint">${t('welcome.step', { n: at + 1, of: STEPS.length })}</p>
        <h2 id="step-title" tabindex="-1">${t(`welcome.${current}`)}</h2>
        <p class="hint">${t(`welcome.${current}-hint`)}</p>
        ${this.#content(current)}
      </section>
      <div class="actions">
        ${before ? html`<a class="button" id="back" href="/welcome?step=${before}">${t('welcome.back')}</a>` : nothing}
        <span class="grow"></span>
        ${next ? html`<a class="button" id="later" href="/" @click=${passed}>${t('welcome.later')}</a>
          <a class="button primary" id="next" href="/welcome?step=${next}">${t('welcome.next')}</a>`
          : html`<a class="button primary" id="done" href="/" @click=${passed}>${t('welcome.done')}</a>`}
      </div>
    </div>`;
  }

  /** @param {Step} step */
  #content(step) {
    const { setUp } = this;
    if (step === 'account') return account();
    if (!setUp) return html`<p class="hint" role="status">${t('welcome.looking')}</p>`;
    switch (step) {
      case 'addresses': return this.#addresses(setUp.addresses);
      case 'broker': return this.#broker(setUp);
      default: return html`<apiary-first-camera .setUp=${setUp}></apiary-first-camera>`;
    }
  }

  /** @param {SetUp['addresses']} addresses */
  #addresses({ local, local_source: source, external, own, findings, lines }) {
    return html`${numbers([
      [t('welcome.local'), source === 'default' ? t('welcome.derived', { address: local }) : local],
      [t('welcome.external'), external ?? t('welcome.no-external')],
      [t('welcome.own'), own.join(', ') || '–'],
    ])}${this.#found(findings, lines, t('welcome.lines'))}`;
  }

  /** @param {SetUp} setUp */
  #broker({ broker }) {
    const { certificate, embedded, host, port } = broker;
    return html`${numbers([
      [t('welcome.which'), t(embedded ? 'welcome.embedded' : 'welcome.external-broker')],
      [t('stat.state'), t(live.brokerConnected ? 'system.up' : 'system.down')],
      [t('welcome.host'), `${host}:${port}${broker.tls ? ' (TLS)' : ''}`],
      [t('welcome.certificate'), certificate
        ? t('welcome.certificate-for', { names: certificate.names.join(', '), time: moment(certificate.valid_until) })
        : t('welcome.no-certificate')],
    ])}${this.#found(broker.findings, broker.lines, t('welcome.lines-broker'))}`;
  }

  /**
   * @param {Finding[]} findings
   * @param {string | null} lines
   * @param {string} why they would be written
   */
  #found(findings, lines, why) {
    return html`<ul class="rows findings">${findings.map((found) => html`<li data-level=${found.level}>
        <p class="row-title">${t(`welcome.${found.level}`)}: <code>${found.subject}</code></p>
        <p class="facts">${sentence(reason(found.cause, found.text))}</p></li>`)}</ul>
      ${lines ? html`<p class="hint">${why}</p><pre class="lines">${lines}</pre>` : nothing}
      <button type="button" class="button" id="again" ?disabled=${this.looking} @click=${this.#look}>${t(this.looking ? 'welcome.looking' : 'welcome.again')}</button>`;
  }

  /**
   * How a step stands: the worst that was found.
   *
   * @param {Step} step
   */
  #level(step) {
    const { setUp } = this;
    if (step === 'account') return me.hasAccount ? 'good' : 'note';
    if (step === 'camera') return live.cameras.size > 0 ? 'good' : '';
    if (!setUp) return '';
    if (step === 'broker' && !live.brokerConnected) return 'problem';
    return setUp[step].findings[0]?.level ?? 'good';
  }
}
customElements.define('apiary-welcome', Welcome);

function account() {
  return me.hasAccount
    ? html`<p>${t('welcome.account-yes', { name: me.user?.name ?? '' })}</p>`
    : html`<p>${t('welcome.account-off')}</p><pre class="lines">[auth]\nenabled = true</pre>`;
}

/** Whoever leaves is not led here again by itself. */
function passed() {
  localStorage.setItem(WELCOMED_KEY, 'yes');
}

/** @param {[string, unknown][]} facts */
export function numbers(facts) {
  return html`<dl class="numbers">${facts.map(([name, value]) => html`<div><dt>${name}</dt><dd>${value}</dd></div>`)}</dl>`;
}
