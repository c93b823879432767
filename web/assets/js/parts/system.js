// @ts-check
/**
 * How the server does, for administrators: the doctor's findings, its parts, its log, its settings.
 *
 * @typedef {{level: 'problem' | 'note' | 'good', subject: string, text: string, cause: import('../i18n/i18n.js').Cause | null}} Finding
 * @typedef {{
 *   version: string, uptime_seconds: number, cores: number, load: number[] | null, findings: Finding[] | null,
 *   broker: {connected: boolean, error: string | null}, engine: {kind: string, error: string | null},
 *   database: {kind: string, up: boolean, octets: number | null, queued: number, dropped: number, refused: number},
 *   disk: {path: string, free_octets: number, total_octets: number} | null,
 *   certificate: {valid_until: string | null} | null
 * }} System
 * @typedef {{key: string, value: string | null, default: string, source: string, secret: boolean}} Setting
 * @typedef {{id: number, at: string, level: string, text: string}} LogRecord
 */
import { html, nothing, repeat } from '../../vendor/lit.js';
import { call } from '../api.js';
import { reason, t } from '../i18n/i18n.js';
import { clock, moment, number, sentence } from '../words.js';
import { AppElement } from './element.js';
import { attempt } from './notice.js';
import { LOOK_EVERY_MS, Polling } from './polling.js';

/** While one looks at the log. */
const LOG_EVERY_MS = 2000;
/** Lines of the log on the page. */
const LOG_LINES = 500;
const HOUR_S = 3600;
const MIB = 1024 ** 2;
const GIB = 1024 ** 3;
/** Settings are many; a broken one is found sooner when those come first that somebody wrote. */
const UNWRITTEN = 'default';

class SystemPanel extends Polling {
  static properties = { system: { state: true } };

  constructor() {
    super();
    /** @type {System | null} */ this.system = null;
  }

  async read() {
    this.system = await call('GET', '/api/system', undefined, LOOK_EVERY_MS);
  }

  render() {
    const { system } = this;
    return html`<section class="panel" id="system" aria-labelledby="system-title">
      <h2 id="system-title">${t('system.title')}</h2>
      ${system ? html`${findings(system.findings)}<dl class="numbers">${facts(system).map(([name, value]) => html`<div><dt>${name}</dt><dd>${value}</dd></div>`)}</dl>`
        : html`<p class="hint">${t('system.reading')}</p>`}
    </section>`;
  }
}
customElements.define('apiary-system', SystemPanel);

/** @param {Finding[] | null} found */
function findings(found) {
  const wrong = found?.filter(({ level }) => level !== 'good') ?? [];
  if (found && wrong.length === 0) return html`<p class="hint" id="well">${t('system.well')}</p>`;
  return html`<ul class="rows" id="findings">${wrong.map(({ level, subject, text, cause }) => html`<li data-level=${level}>
    <div class="names"><p class="row-title">${t(level === 'problem' ? 'system.problem' : 'system.note', { subject })}</p><p class="facts">${sentence(reason(cause, text))}</p></div></li>`)}</ul>`;
}

/**
 * @param {System} system
 * @returns {[string, unknown][]}
 */
function facts(system) {
  const { disk, certificate, load } = system;
  /** @type {[string, unknown][]} */
  const all = [
    [t('system.version'), system.version],
    [t('system.uptime'), t('system.hours', { n: Math.floor(system.uptime_seconds / HOUR_S) })],
    [t('system.broker'), system.broker.error ?? t(system.broker.connected ? 'system.up' : 'system.down')],
    [t('system.engine'), system.engine.error ?? system.engine.kind],
    [t('system.database'), databaseWords(system.database)],
  ];
  if (certificate?.valid_until) all.push([t('system.certificate'), t('until', { time: moment(certificate.valid_until) })]);
  if (disk) all.push([t('system.disk'), t('system.free', { free: number(disk.free_octets / GIB, 1), total: number(disk.total_octets / GIB, 1) })]);
  if (load) all.push([t('system.load'), t('system.of-cores', { load: number(load[0] ?? 0, 2), n: system.cores })]);
  return all;
}

/** @param {System['database']} database */
function databaseWords({ kind, up, octets, dropped, refused }) {
  const words = [up ? kind : `${kind}, ${t('system.down')}`];
  if (octets !== null) words.push(`${number(octets / MIB, 1)} MiB`);
  if (dropped + refused > 0) words.push(t('system.unwritten', { n: dropped + refused }));
  return words.join(' · ');
}

class LogPanel extends Polling {
  static properties = { records: { state: true }, open: { state: true } };

  everyMs = LOG_EVERY_MS;

  constructor() {
    super();
    /** @type {LogRecord[]} */ this.records = [];
    this.open = false;
  }

  async read() {
    if (!this.open) return;
    const { records } = await call('GET', `/api/log?after=${this.records.at(-1)?.id ?? 0}`);
    if (records.length > 0) this.records = [...this.records, ...records].slice(-LOG_LINES);
  }

  updated() {
    const list = this.querySelector('.log');
    if (list) list.scrollTop = list.scrollHeight;
  }

  #onToggle = (/** @type {Event} */ event) => {
    this.open = /** @type {HTMLDetailsElement} */ (event.target).open;
    void attempt(() => this.read());
  };

  render() {
    return html`<details class="panel" id="server-log" @toggle=${this.#onToggle}>
      <summary><h2 id="server-log-title">${t('log.title')}</h2></summary>
      <div class="log" role="log" aria-labelledby="server-log-title" tabindex="0"><ol>${repeat(this.records, ({ id }) => id, ({ at, level, text }) => html`<li
        data-tone=${level === 'error' ? 'bad' : ''}><time datetime=${at}>${clock(at)}</time><span>${level} ${text}</span></li>`)}</ol></div>
    </details>`;
  }
}
customElements.define('apiary-log', LogPanel);

class SettingsPanel extends AppElement {
  static properties = { settings: { state: true } };

  constructor() {
    super();
    /** @type {Setting[]} */ this.settings = [];
  }

  #onToggle = (/** @type {Event} */ event) => {
    if (!(/** @type {HTMLDetailsElement} */ (event.target).open)) return;
    void attempt(async () => { this.settings = (await call('GET', '/api/config')).settings; });
  };

  render() {
    const written = this.settings.filter(({ source }) => source !== UNWRITTEN);
    const others = this.settings.filter(({ source }) => source === UNWRITTEN);
    return html`<details class="panel" id="configuration" @toggle=${this.#onToggle}>
      <summary><h2>${t('config.title')}</h2></summary>
      <p class="hint">${t('config.hint')}</p>
      ${this.settings.length > 0 ? html`<div class="scroll" tabindex="0" role="region" aria-label=${t('config.title')}><table>
        <thead><tr><th scope="col">${t('config.key')}</th><th scope="col">${t('config.value')}</th><th scope="col">${t('config.source')}</th></tr></thead>
        <tbody>${[...written, ...others].map((one) => html`<tr><td><code>${one.key}</code></td>
          <td><code>${one.value ?? (one.default || '–')}</code></td><td>${one.source === UNWRITTEN ? t('config.default') : one.source}</td></tr>`)}</tbody>
      </table></div>` : nothing}
    </details>`;
  }
}
customElements.define('apiary-settings', SettingsPanel);
