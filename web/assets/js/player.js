// @ts-check
/**
 * One camera's live picture in one `<video>`: joins, watches over itself, and comes back by itself.
 *
 * Fires `phase` whenever {@link Player#phase} or {@link Player#detail} changed, `sample` about once a second while
 * connected, `stream` with what the server says of the camera's stream, `ice` when the ICE state changed, and `log`
 * with {text, tone}.
 *
 * @typedef {'idle' | 'connecting' | 'waiting' | 'playing' | 'stalled' | 'retrying' | 'stopped' | 'failed'} Phase
 * @typedef {import('./stats.js').Sample} Sample
 *
 * What the server says of the camera's stream.
 * @typedef {{state: string, health?: string, message?: string, viewers?: number}} StreamState
 */
import { Signaling, signalingUrl } from './signaling.js';
import { takeSample } from './stats.js';
import { sentence } from './words.js';

/** The wait before each further attempt; the last one repeats. */
const BACKOFF_MS = [400, 1000, 2000, 4000, 8000, 15000];
/** Each wait varies by this share, so that pages do not all return at once. */
const BACKOFF_SPREAD = 0.25;
const SAMPLE_EVERY_MS = 1000;
/** Without a new frame for this long the picture counts as stalled. */
const STALLED_AFTER_MS = 2500;
/** A healthy stream that shows nothing here for this long is joined anew. */
const REJOIN_AFTER_MS = 15000;
/** ICE may be disconnected this long before a new attempt; it often heals by itself. */
const DISCONNECTED_GRACE_MS = 4000;

export class Player extends EventTarget {
  /** @type {Phase} */ phase = 'idle';
  /** What to tell the user about the phase. */
  detail = '';
  /** @type {Sample | null} */ sample = null;
  /** The browser refused to play without a click. */
  needsClick = false;

  #camera;
  #video;
  /** @type {Attempt | null} */ #attempt = null;
  /** Whether somebody wants to see the picture. */
  #wanted = false;
  #failures = 0;
  #retryTimer = 0;

  /**
   * @param {string} camera
   * @param {HTMLVideoElement} video
   */
  constructor(camera, video) {
    super();
    this.#camera = camera;
    this.#video = video;
    document.addEventListener('visibilitychange', () => this.#wake());
    window.addEventListener('online', () => this.#wake());
    window.addEventListener('pageshow', () => this.#wake());
  }

  get wanted() {
    return this.#wanted;
  }

  /** Asks for the picture, and goes on asking until {@link stop}. */
  play() {
    if (this.#wanted) return;
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

  /** Plays after a click where the browser had refused to play by itself. */
  async resume() {
    this.needsClick = false;
    await this.#startPlayback();
  }

  #connect() {
    this.#leave();
    this.#become('connecting', 'Connecting…');
    this.#attempt = new Attempt(this.#camera, {
      track: (stream) => this.#show(stream),
      connected: () => this.#onConnected(),
      ice: () => this.dispatchEvent(new Event('ice')),
      sampled: (sample, sinceFrame) => this.#measure(sample, sinceFrame),
      stream: (state) => this.#onStream(state),
      ended: (ending) => this.#onEnded(ending),
    });
  }

  #leave() {
    clearTimeout(this.#retryTimer);
    this.#attempt?.close();
    this.#attempt = null;
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
    this.#video.requestVideoFrameCallback(() => {
      if (attempt === this.#attempt) this.#onFrame();
    });
  }

  /** Also called when a connection healed by itself, where the phase has nothing to learn. */
  #onConnected() {
    if (this.phase === 'connecting') this.#become('waiting', 'Connected. Waiting for the first picture…');
  }

  async #startPlayback() {
    try {
      await this.#video.play();
    } catch (error) {
      // A pause by a new srcObject is no refusal.
      if (error instanceof DOMException && error.name === 'NotAllowedError') {
        this.needsClick = true;
        this.#announce();
      }
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
      this.#become('stalled', 'The picture has stopped. Waiting for the camera…');
    } else if (this.phase !== 'playing' && sample.frames > 0 && sinceFrame < STALLED_AFTER_MS) {
      this.#onFrame(); // a page in the background gets no frame callback
    }
    this.dispatchEvent(new Event('sample'));
    if (sinceFrame > REJOIN_AFTER_MS && this.#attempt?.streamFlows) {
      this.#retry({ text: 'No picture arrives here although the camera sends', tone: 'bad' });
    }
  }

  /** @param {StreamState} state */
  #onStream(state) {
    this.dispatchEvent(new CustomEvent('stream', { detail: state }));
    if (this.phase === 'waiting' && state.state === 'starting') {
      this.#become('waiting', 'The camera is starting…');
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
      this.#retry({ text: ending.text, tone: 'bad' });
    }
  }

  /** @param {{text: string, tone: string}} why */
  #retry(why) {
    this.#leave();
    const base = BACKOFF_MS[Math.min(this.#failures, BACKOFF_MS.length - 1)] ?? 0;
    const wait = base * (1 + BACKOFF_SPREAD * (2 * Math.random() - 1));
    this.#failures += 1;
    this.#become('retrying', `${sentence(why.text)} Trying again…`);
    this.#retryTimer = window.setTimeout(() => this.#connect(), wait);
  }

  /** A page that comes back to the front, or a network that returns, does not wait for the backoff. */
  #wake() {
    if (!this.#wanted || document.visibilityState !== 'visible') return;
    if (this.phase === 'retrying') {
      this.#failures = 0;
      this.#connect();
    } else if (this.#attempt && !this.#attempt.alive) {
      this.#log('Reconnecting after a pause', '');
      this.#connect();
    } else if (this.#video.paused && !this.needsClick) {
      void this.#startPlayback();
    }
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

/**
 * How an attempt ended. `final` ones are not tried again by themselves.
 * @typedef {{text: string, final: boolean, failed: boolean}} Ending
 *
 * @typedef {{
 *   track: (stream: MediaStream) => void, connected: () => void, ice: () => void,
 *   sampled: (sample: Sample, sinceFrame: number) => void,
 *   stream: (state: StreamState) => void,
 *   ended: (ending: Ending) => void
 * }} AttemptHandler
 */

/** One try: a socket and a peer connection that live and die together. Says how it ended once, unless closed before. */
class Attempt {
  #camera;
  #handler;
  #connection;
  /** @type {Signaling} */ #signaling;
  /** Our candidates from before the socket opened or the offer went out. @type {RTCIceCandidate[]} */ #ours = [];
  /** The server's candidates from before its answer. @type {RTCIceCandidateInit[]} */ #theirs = [];
  #offered = false;
  #answered = false;
  #closed = false;
  #sampleTimer = 0;
  #graceTimer = 0;
  /** @type {Sample | null} */ #sample = null;
  #lastFrameAt = performance.now();
  /** @type {{state: string, health?: string}} */ #stream = { state: '' };

  /**
   * @param {string} camera
   * @param {AttemptHandler} handler
   */
  constructor(camera, handler) {
    this.#camera = camera;
    this.#handler = handler;
    this.#connection = new RTCPeerConnection({ bundlePolicy: 'max-bundle' });
    this.#listen();
    this.#signaling = new Signaling(signalingUrl(), {
      opened: () => void this.#offer(),
      received: (message) => this.#receive(message),
      closed: (why) => this.#end({ text: why, final: false, failed: false }),
    });
  }

  get iceState() {
    return this.#connection.iceConnectionState;
  }

  get alive() {
    return !this.#closed && !this.#signaling.lost && !['failed', 'closed'].includes(this.#connection.connectionState);
  }

  /** The server says that the camera sends. */
  get streamFlows() {
    return this.#stream.state === 'active' && this.#stream.health !== 'stalled';
  }

  close() {
    if (this.#closed) return;
    this.#closed = true;
    clearInterval(this.#sampleTimer);
    clearTimeout(this.#graceTimer);
    this.#signaling.send({ type: 'stop' });
    this.#signaling.close();
    this.#connection.close();
  }

  #listen() {
    const stream = new MediaStream();
    this.#connection.addTransceiver('video', { direction: 'recvonly' });
    this.#connection.addTransceiver('audio', { direction: 'recvonly' });
    this.#connection.ontrack = (event) => {
      stream.addTrack(event.track);
      this.#handler.track(stream);
    };
    this.#connection.onicecandidate = (event) => {
      if (event.candidate) this.#sendCandidate(event.candidate);
    };
    this.#connection.oniceconnectionstatechange = () => this.#handler.ice();
    this.#connection.onconnectionstatechange = () => this.#onConnectionState();
  }

  /** Sends the offer at once; candidates follow as they are found. */
  async #offer() {
    try {
      await this.#connection.setLocalDescription();
    } catch (error) {
      this.#end({ text: `this browser cannot make an offer (${error})`, final: true, failed: true });
      return;
    }
    this.#signaling.send({
      type: 'viewer',
      cameraId: this.#camera,
      streamId: null,
      sdpOffer: this.#connection.localDescription?.sdp ?? '',
    });
    this.#offered = true;
    this.#ours.splice(0).forEach((candidate) => this.#sendCandidate(candidate));
  }

  /** @param {RTCIceCandidate} candidate */
  #sendCandidate(candidate) {
    if (this.#offered) this.#signaling.send({ type: 'onIceCandidate', candidate: candidate.toJSON() });
    else this.#ours.push(candidate);
  }

  /** @param {import('./signaling.js').Message} message */
  #receive(message) {
    switch (message.type) {
      case 'viewerResponse':
        void this.#answer(String(message.sdpAnswer));
        break;
      case 'iceCandidate':
        if (this.#answered) this.#addCandidate(message.candidate);
        else this.#theirs.push(message.candidate);
        break;
      case 'state':
        this.#stream = { state: String(message.state), health: message.health };
        this.#handler.stream({ ...this.#stream, message: message.message, viewers: message.viewerCount });
        break;
      case 'stopped':
        this.#end({ text: String(message.reason), final: message.retry !== true, failed: message.state === 'error' });
        break;
      case 'error':
        // Once answered, an error concerns a single message of ours, not the picture.
        if (!this.#answered) this.#end({ text: String(message.message), final: message.retry === false, failed: true });
        break;
      default: // a newer server's message
    }
  }

  /** @param {string} sdp */
  async #answer(sdp) {
    try {
      await this.#connection.setRemoteDescription({ type: 'answer', sdp });
    } catch (error) {
      this.#end({ text: `the browser refused the server's answer (${error})`, final: true, failed: true });
      return;
    }
    this.#answered = true;
    this.#theirs.splice(0).forEach((candidate) => this.#addCandidate(candidate));
  }

  /** @param {RTCIceCandidateInit} candidate */
  #addCandidate(candidate) {
    // One that the browser cannot use is no harm: the answer holds them all.
    this.#connection.addIceCandidate(candidate).catch(() => {});
  }

  #onConnectionState() {
    clearTimeout(this.#graceTimer);
    const lost = { text: 'the media connection was lost', final: false, failed: false };
    switch (this.#connection.connectionState) {
      case 'connected':
        this.#handler.connected();
        this.#lastFrameAt = performance.now();
        if (!this.#sampleTimer) this.#sampleTimer = window.setInterval(() => void this.#measure(), SAMPLE_EVERY_MS);
        break;
      case 'disconnected':
        this.#graceTimer = window.setTimeout(() => this.#end(lost), DISCONNECTED_GRACE_MS);
        break;
      case 'failed':
      case 'closed':
        this.#end(lost);
        break;
      default: // new, connecting
    }
  }

  async #measure() {
    const sample = await takeSample(this.#connection, this.#sample);
    if (this.#closed) return;
    if (!this.#sample || sample.frames > this.#sample.frames) this.#lastFrameAt = sample.at;
    this.#sample = sample;
    this.#handler.sampled(sample, sample.at - this.#lastFrameAt);
  }

  /** @param {Ending} ending */
  #end(ending) {
    if (this.#closed) return;
    this.close();
    this.#handler.ended(ending);
  }
}
