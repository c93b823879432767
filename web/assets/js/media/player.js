// @ts-check
/**
 * One camera's live picture in one `<video>`: joins, watches over itself, and comes back by itself.
 *
 * Fires `phase` whenever {@link Player#phase} or {@link Player#detail} changed, `sample` about once a second while
 * connected, `talk` when {@link Player#talks} changed, `stream` with what the server says of the camera's stream, `ice` when the ICE state changed, and `log`
 * with {text, tone}.
 *
 * @typedef {'idle' | 'connecting' | 'waiting' | 'playing' | 'stalled' | 'retrying' | 'stopped' | 'failed'} Phase
 * @typedef {import('./stats.js').Sample} Sample
 * @typedef {import('./attempt.js').StreamState} StreamState
 * @typedef {import('./attempt.js').Ending} Ending
 */
import { enter } from '../session.js';
import { take } from './ahead.js';
import { Attempt } from './attempt.js';
import { t } from '../i18n/i18n.js';
import { sentence } from '../words.js';

/** The wait before each further attempt; the last one repeats. */
const BACKOFF_MS = [400, 1000, 2000, 4000, 8000, 15000];
/** Who had a picture and is told to come back does so at once, only not all at the same moment. */
const INVITED_WITHIN_MS = 50;
/** Each wait varies by this share, so that pages do not all return at once. */
const BACKOFF_SPREAD = 0.25;
/** Without a new frame for this long the picture counts as stalled. */
const STALLED_AFTER_MS = 2500;
/** A healthy stream that shows nothing here for this long is joined anew. */
const REJOIN_AFTER_MS = 15000;
/** A connection of which it is not known whether it lives shows so within this time. */
const DOUBT_MS = 400;

export class Player extends EventTarget {
  /** @type {Phase} */ phase = 'idle';
  /** What to tell the user about the phase. */
  detail = '';
  /** @type {Sample | null} */ sample = null;
  /** The browser refused to play without a click. */
  needsClick = false;
  /** The browser refused to play with sound without a click; it plays without. */
  silenced = false;
  /** Whether the camera hears this page. */ talks = false;
  /** Why it does not any more, or did not come to. */ hushed = '';

  #camera;
  #video;
  #server;
  #refused;
  #speaks;
  /** @type {Attempt | null} */ #attempt = null;
  /** Where the server wants the page back. @type {import('./signaling.js').Signaling | null} */ #invitation = null;
  /** Whether somebody wants to see the picture. */
  #wanted = false;
  #failures = 0;
  #retryTimer = 0;
  #lifetime = new AbortController();

  /**
   * @param {string} camera
   * @param {HTMLVideoElement} video
   * @param {import('./signaling.js').Server} [server] the page's own, unless it is another one
   * @param {() => unknown} [refused] what to do when it refuses: a browser does not say why, and that nobody is logged in any more
   *   is one reason
   * @param {boolean} [speaks] whether somebody may come to talk to the camera: the connection is then made for it
   */
  constructor(camera, video, server = { origin: location.origin, token: '' }, refused = enter, speaks = false) {
    super();
    this.#camera = camera;
    this.#video = video;
    this.#server = server;
    this.#refused = refused;
    this.#speaks = speaks;
    const until = { signal: this.#lifetime.signal };
    video.addEventListener('playing', () => this.#allowed(), until);
    video.addEventListener('volumechange', () => this.#onVolume(), until);
    document.addEventListener('visibilitychange', () => this.#wake(), until);
    window.addEventListener('pageshow', () => this.#wake(), until);
    window.addEventListener('online', () => this.#onNetwork(), until);
    // From Wi-Fi to cellular; not in all browsers.
    /** @type {any} */ (navigator).connection?.addEventListener('change', () => this.#onNetwork(), until);
  }

  /** Leaves for good. */
  dispose() {
    this.stop();
    this.#lifetime.abort();
  }

  get wanted() {
    return this.#wanted;
  }

  /** Asks for the picture, and goes on asking until {@link stop}. Never again after {@link dispose}, whoever still asks. */
  play() {
    if (this.#wanted || this.#lifetime.signal.aborted) return;
    this.#wanted = true;
    this.#failures = 0;
    this.#connect();
  }

  /** Leaves, and stays away. */
  stop(detail = '') {
    this.#wanted = false;
    this.#leave();
    this.#become('idle', detail);
  }

  /** Leaves until the page is in sight again. */
  rest() {
    if (!this.#wanted) return;
    this.#leave();
    this.#become('idle', '');
  }

  /** Plays after a click where the browser had refused to play by itself. */
  async resume() {
    await this.#startPlayback();
  }

  #onVolume() {
    if (!this.silenced || this.#video.muted) return;
    this.silenced = false;
    this.#announce();
  }

  #allowed() {
    if (!this.needsClick) return;
    this.needsClick = false;
    this.#announce();
  }

  #connect() {
    const invitation = this.#invitation;
    this.#invitation = null;
    this.#leave();
    /** @type {import('./attempt.js').AttemptHandler} */
    const handler = {
      track: (stream) => this.#show(stream),
      connected: () => this.#onConnected(),
      ice: () => this.dispatchEvent(new Event('ice')),
      sampled: (sample, sinceFrame) => this.#measure(sample, sinceFrame),
      stream: (state) => this.#onStream(state),
      refused: () => this.#refused(),
      turn: (talks, why) => this.#onTurn(talks, why),
      ended: (ending) => this.#onEnded(ending),
    };
    // Only pages of cameras begin ahead, and their players are the ones that speak.
    const begun = this.#speaks ? take(this.#camera) : null;
    this.#attempt = begun?.attempt ?? new Attempt(this.#camera, this.#server, handler, invitation, this.#speaks);
    // What is wrong stays to be read while it is tried again and again.
    this.#become('connecting', this.#failures > 1 ? this.detail : t('player.connecting'));
    begun?.handTo(handler);
  }

  /**
   * Asks for the turn to talk with this sound; {@link Player#talks} says when it is there.
   *
   * @param {MediaStreamTrack} sound
   */
  async talk(sound) {
    if (this.#attempt) await this.#attempt.talk(sound);
    else this.#onTurn(false, t('talk.no-connection'));
  }

  /** Talks no more. */
  async hush() {
    this.#onTurn(false, '');
    await this.#attempt?.hush();
  }

  /**
   * @param {boolean} talks
   * @param {string} why
   */
  #onTurn(talks, why) {
    this.talks = talks;
    this.hushed = why;
    // Half duplex: what the camera hears of itself would come back to it.
    const stream = /** @type {MediaStream | null} */ (this.#video.srcObject);
    for (const track of stream?.getAudioTracks() ?? []) track.enabled = !talks;
    this.dispatchEvent(new Event('talk'));
  }

  #leave() {
    if (this.#speaks) this.#onTurn(false, t('talk.no-connection'));
    clearTimeout(this.#retryTimer);
    this.#attempt?.close();
    this.#attempt = null;
    this.#invitation?.close();
    this.#invitation = null;
    this.sample = null;
    this.#video.srcObject = null;
  }

  get iceState() {
    return this.#attempt?.iceState ?? 'closed';
  }

  /** @param {MediaStream} stream */
  #show(stream) {
    if (this.#video.srcObject === stream) return;
    this.#video.srcObject = stream;
    void this.#startPlayback();
    const attempt = this.#attempt;
    this.#video.requestVideoFrameCallback?.(() => {
      if (attempt === this.#attempt) this.#onFrame();
    });
  }

  /** Also called when a connection healed by itself, where the phase has nothing to learn. */
  #onConnected() {
    if (this.phase === 'connecting') this.#become('waiting', t('player.waiting'));
  }

  /** @returns {Promise<void>} */
  async #startPlayback() {
    try {
      await this.#video.play();
    } catch (error) {
      // A pause by a new srcObject is no refusal.
      if (!(error instanceof DOMException) || error.name !== 'NotAllowedError') return;
      if (!this.#video.muted) {
        // Sound needs a click in most browsers, the picture in few.
        this.#video.muted = true;
        this.silenced = true;
        return this.#startPlayback();
      }
      this.needsClick = true;
      this.#announce();
    }
  }

  #onFrame() {
    this.#failures = 0;
    this.#become('playing', '');
  }

  /**
   * @param {Sample} sample
   * @param {number} sinceFrame milliseconds since the last new frame
   */
  #measure(sample, sinceFrame) {
    this.sample = sample;
    if (this.phase === 'playing' && sinceFrame > STALLED_AFTER_MS) {
      this.#become('stalled', t('player.stalled'));
    } else if (this.phase !== 'playing' && sample.frames > 0 && sinceFrame < STALLED_AFTER_MS) {
      this.#onFrame(); // a page in the background gets no frame callback
    }
    this.dispatchEvent(new Event('sample'));
    if (sinceFrame > REJOIN_AFTER_MS && this.#attempt?.streamFlows) {
      this.#retry(t('player.no-frames'));
    }
  }

  /** @param {StreamState} state */
  #onStream(state) {
    this.dispatchEvent(new CustomEvent('stream', { detail: state }));
    if (this.phase === 'waiting' && state.state === 'starting') {
      this.#become('waiting', t('player.starting'));
    }
  }

  /** @param {Ending} ending */
  #onEnded(ending) {
    if (ending.final) {
      this.#log(ending.text, ending.failed ? 'bad' : '');
      this.#wanted = false;
      this.#leave();
      this.#become(ending.failed ? 'failed' : 'stopped', ending.text);
    } else {
      this.#retry(ending.text, ending.invitation);
    }
  }

  /**
   * @param {string} why
   * @param {import('./signaling.js').Signaling | null} [invitation] the socket over which the server wants the page back
   */
  #retry(why, invitation = null) {
    this.#leave();
    this.#invitation = invitation;
    const wait = invitation && this.#failures === 0 ? INVITED_WITHIN_MS * Math.random() : this.#backoff();
    this.#failures += 1;
    this.#become('retrying', t('player.retrying', { why: sentence(why) }));
    this.#retryTimer = window.setTimeout(() => this.#connect(), wait);
  }

  #backoff() {
    const base = BACKOFF_MS[Math.min(this.#failures, BACKOFF_MS.length - 1)] ?? 0;
    return base * (1 + BACKOFF_SPREAD * (2 * Math.random() - 1));
  }

  /** A page that comes back to the front does not wait for the backoff, nor for what its connection will be found to be. */
  #wake() {
    if (!this.#wanted || document.visibilityState !== 'visible') return;
    if (!this.#attempt) {
      this.#failures = 0;
      this.#connect();
    } else if (!this.#attempt.alive) {
      this.#connectAnew();
    } else {
      if (this.#video.paused && !this.needsClick) void this.#startPlayback();
      if (this.#attempt.mayFlow) void this.#doubt(this.#attempt);
    }
  }

  /** The way that packets took may be gone, and so may one that is just being looked for. */
  #onNetwork() {
    if (this.#attempt?.alive && this.phase === 'connecting') this.#connectAnew();
    else this.#wake();
  }

  /**
   * A phone that was locked, or is in another network, hears only after seconds that its connection is dead.
   *
   * @param {Attempt} attempt
   */
  async #doubt(attempt) {
    if (await attempt.hears(DOUBT_MS) || attempt !== this.#attempt) return;
    this.#connectAnew();
  }

  #connectAnew() {
    this.#log(t('player.resuming'), '');
    this.#failures = 0;
    this.#connect();
  }

  /**
   * @param {Phase} phase
   * @param {string} detail
   */
  #become(phase, detail) {
    if (this.phase === phase && this.detail === detail) return;
    this.phase = phase;
    this.detail = detail;
    this.#announce();
  }

  #announce() {
    this.dispatchEvent(new Event('phase'));
  }

  /**
   * @param {string} text
   * @param {string} tone
   */
  #log(text, tone) {
    this.dispatchEvent(new CustomEvent('log', { detail: { text: sentence(text), tone } }));
  }
}
