// @ts-check
/**
 * One camera, large: its picture, how well it arrives, what happened, and what one can tell it.
 *
 * @typedef {import('../api.js').Camera} Camera
 * @typedef {import('../media/player.js').Player} Player
 * @typedef {import('../media/attempt.js').StreamState} StreamState
 */
import { html, nothing } from '../../vendor/lit.js';
import { posterOf, startStream, stopStream } from '../api.js';
import { t } from '../i18n/i18n.js';
import { live, Watching } from '../live.js';
import { mayReturn } from '../media/return.js';
import { badges } from '../parts/badges.js';
import '../parts/commands.js';
import { AppElement } from '../parts/element.js';
import { icon } from '../parts/icons.js';
import { Journal } from '../parts/journal.js';
import { keysAreOn, switchKeys } from '../parts/keys.js';
import '../parts/quality.js';
import '../parts/stage.js';
import '../parts/talk.js';
import { me } from '../session.js';
import { cameraName, cameraState, iceState, sentence, streamState } from '../words.js';

/** What a camera id looks like. */
const CAMERA_ID = /^[0-9A-F]{32}$/;

export class CameraView extends AppElement {
  static properties = { camera: { attribute: false }, player: { state: true }, busy: { state: true }, refusal: { state: true } };

  /** What the server last said of the stream to this viewer. @type {StreamState} */ #stream = { state: 'idle' };
  /** How the camera stood before the last news. @type {Camera | undefined} */ #before;

  constructor() {
    super();
    new Watching(this);
    /** Its id, as the address has it. */ this.camera = '';
    /** @type {Player | null} */ this.player = null;
    /** A start or stop is under way. */ this.busy = false;
    /** Why there is nothing to see of a camera that one knows nothing of. */ this.refusal = '';
  }

  get #known() {
    return live.cameras.get(this.camera);
  }

  /** Nothing as long as it may be about to have a name: what is written would move what stands below. */
  get #name() {
    return live.known ? cameraName(this.camera, this.#known?.name) : '';
  }

  /** That the picture was refused and that the camera is not among those one may see is heard in either order. */
  willUpdate() {
    if (this.#known) this.refusal = '';
    else if (live.known && this.player?.phase === 'failed') this.refusal = sentence(this.player.detail);
  }

  /** A picture that ended returns by itself where that makes sense. */
  updated() {
    const [before, now, { player }] = [this.#before, this.#known, this];
    if (live.over && player?.phase === 'retrying') player.stop(t('share.ended'));
    this.#before = now;
    if (!before || !now || !player || player.wanted || this.busy) return;
    if (mayReturn(before, now, player.phase === 'failed' ? 'failed' : 'stopped')) player.play();
  }

  render() {
    if (!CAMERA_ID.test(this.camera)) return this.#refuse(t('camera.none-hint'));
    if (this.refusal) return this.#refuse(this.refusal);
    const camera = this.#known;
    const words = this.#words;
    document.title = this.#name ? `${this.#name} · Apiary` : 'Apiary';
    return html`
      <header class="camera-head">
        ${me.user?.guest ? nothing : html`<a class="control back" href="/" aria-label=${t('camera.back')}>${icon('back')}</a>`}
        <div class="title"><h1 id="name">${this.#name}</h1><p class="facts">${camera?.room ?? ''}</p></div>
        ${camera ? badges(camera) : nothing}
        <span class="pill solid" id="pill" data-tone=${words.tone}><span class="dot" aria-hidden="true"></span>
          <span class="pill-text" id="pill-text" aria-live="polite">${words.text}</span></span>
      </header>
      <div class="theatre">
        <apiary-stage .camera=${this.camera} .name=${this.#name} .poster=${camera?.poster ? posterOf(camera) : ''} .mayOperate=${me.mayOperate} .busy=${this.busy} .talk=${this.#talk}
          @player=${this.#onPlayer} @toggle=${this.#toggle}></apiary-stage>
        <div class="side" ?hidden=${!live.known}>
          ${camera && me.mayOperate ? html`<apiary-commands .camera=${camera}></apiary-commands>` : nothing}
          <details class="panel" id="quality">
            <summary><h2>${t('camera.quality')}</h2></summary>
            <apiary-quality .player=${this.player} .state=${words.text}
              .viewers=${this.#stream.viewers ?? camera?.stream?.viewer_count ?? null}></apiary-quality>
          </details>
          <section class="panel" aria-labelledby="log-title">
            <h2 id="log-title">${t('camera.log')}</h2>
            <apiary-journal .camera=${this.camera}></apiary-journal>
          </section>
          ${this.#keys()}
        </div>
      </div>`;
  }

  get #talk() {
    if (!me.mayTalk) return nothing;
    return html`<apiary-talk .player=${this.player} .since=${this.#known?.talking_since ?? null}></apiary-talk>`;
  }

  /** @param {string} why */
  #refuse(why) {
    document.title = 'Apiary';
    return html`<section class="empty" id="refusal"><h1 id="name">${t('camera.none')}</h1>
      <p id="veil-text">${why}</p><a class="button primary" href="/">${t('camera.back')}</a></section>`;
  }

  #keys() {
    return html`<details class="panel keys"><summary><h2>${t('keys.title')}</h2></summary>
      <label class="switch"><input type="checkbox" role="switch" id="keys-on" .checked=${keysAreOn()}
          @change=${(/** @type {Event} */ event) => switchKeys(/** @type {HTMLInputElement} */ (event.target).checked)}>
        <span class="track" aria-hidden="true"></span><span>${t('keys.on')}</span></label>
      <dl class="numbers">
        ${/** @type {const} */ (['M', 'F', 'P', 'S', 'T', '+', '0']).filter((key) => (key !== 'T' || me.mayTalk) && (key !== 'P' || document.pictureInPictureEnabled)).map((key) => html`<div><dt>${t(`keys.${key}`)}</dt><dd><kbd>${key === '+' ? '+ −' : key}</kbd></dd></div>`)}
      </dl></details>`;
  }

  /** More than what came of the picture here, where that is so. */
  get #offline() {
    return this.#known?.online === false ? cameraState(this.#known) : null;
  }

  /** How the picture here stands, in words. */
  get #words() {
    switch (this.player?.phase) {
      case 'playing': return streamState('active', this.#stream.health);
      case 'stalled': return { text: t('state.stalled'), tone: 'wait' };
      case 'waiting': return { text: t('state.starting'), tone: 'wait' };
      case 'connecting': return { text: t('state.connecting'), tone: 'wait' };
      case 'retrying': return { text: t('state.reconnecting'), tone: 'wait' };
      case 'failed': return this.#offline ?? { text: t('state.failed'), tone: 'bad' };
      default: return this.#offline ?? { text: t('state.stopped'), tone: 'idle' };
    }
  }

  /** @param {CustomEvent<Player>} event */
  #onPlayer({ detail: player }) {
    this.player = player;
    player.addEventListener('phase', () => this.#onPhase());
    player.addEventListener('ice', () => {
      if (player.iceState !== 'closed') this.#log(t('log.ice', { state: iceState(player.iceState) }));
    });
    player.addEventListener('stream', (news) => this.#onStream(/** @type {CustomEvent<StreamState>} */ (news).detail));
    player.addEventListener('log', (news) => {
      const { text, tone } = /** @type {CustomEvent} */ (news).detail;
      this.#log(text, tone);
    });
  }

  #onPhase() {
    const { phase, detail } = /** @type {Player} */ (this.player);
    if (this.refusal) return; // the player goes with its stage
    if (phase === 'stopped' || phase === 'failed') this.#stream = { state: phase === 'failed' ? 'error' : 'stopped' };
    if (phase === 'playing') this.#log(t('log.live'), 'good');
    else if (detail && phase !== 'stopped' && phase !== 'failed') this.#log(detail);
    this.requestUpdate();
  }

  /** @param {StreamState} said */
  #onStream(said) {
    const before = streamState(this.#stream.state, this.#stream.health).text;
    const now = streamState(said.state, said.health);
    this.#stream = said;
    if (before !== now.text) this.#log(said.message ? `${now.text}: ${said.message}` : t('log.stream', { state: now.text }), now.tone);
    this.requestUpdate();
  }

  async #toggle() {
    const player = /** @type {Player} */ (this.player);
    const stopping = player.wanted;
    this.busy = true;
    try {
      if (stopping) {
        this.#log(t('log.stopping'));
        player.stop(t('stage.stopped'));
        this.#stream = { state: 'stopped' };
        await stopStream(this.camera);
      } else {
        this.#log(t('log.starting'));
        await startStream(this.camera);
        player.play();
      }
    } catch (error) {
      const text = sentence(error instanceof Error ? error.message : String(error));
      this.#log(text, 'bad');
      player.stop(text);
    }
    this.busy = false;
  }

  /**
   * @param {string} text
   * @param {import('../words.js').Tone | ''} [tone]
   */
  #log(text, tone = '') {
    this.find('apiary-journal', Journal).write(text, tone);
  }
}
customElements.define('apiary-camera-view', CameraView);
