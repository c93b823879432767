// @ts-check
/**
 * One try to watch a camera: a peer connection and the socket over which it is set up. Trying again is the player's. The socket
 * outlives the attempt only where the server invites the page back over it.
 *
 * @typedef {import('./stats.js').Sample} Sample
 * @typedef {import('./signaling.js').Server} Server
 *
 * What the server says of the camera's stream.
 * @typedef {{state: string, health?: string, message?: string, viewers?: number}} StreamState
 *
 * How an attempt ended. `final` ones are not tried again by themselves; those with an `invitation` were told to come back, over that
 * socket.
 * @typedef {{text: string, final: boolean, failed: boolean, invitation?: Signaling}} Ending
 *
 * @typedef {{
 *   track: (stream: MediaStream) => void, connected: () => void, ice: () => void,
 *   sampled: (sample: Sample, sinceFrame: number) => void,
 *   stream: (state: StreamState) => void, refused: () => void, turn: (talks: boolean, why: string) => void,
 *   ended: (ending: Ending) => void
 * }} AttemptHandler `sinceFrame`: milliseconds since the last new frame; `refused`: the socket never opened;
 *   `turn`: whether it is this page's turn to talk, and why not;
 *   `ended` comes once, unless closed before
 */
import { reason, t } from '../i18n/i18n.js';
import { iceServers } from './ice.js';
import { Signaling, signalingUrl } from './signaling.js';
import { takeSample } from './stats.js';

const SAMPLE_EVERY_MS = 1000;
/** ICE may be disconnected this long before the attempt counts as lost; it often heals by itself. */
const DISCONNECTED_GRACE_MS = 4000;
/** Packets that find no way within this time are not waited for any longer. */
const NO_WAY_AFTER_MS = 10_000;
/** So long no packet may come of a stream that flows by the server's word: well before ICE would notice. */
const SILENT_AFTER_MS = 4500;
/** Between two looks at whether packets come. */
const LOOK_AGAIN_MS = 50;

export class Attempt {
  #camera;
  #handler;
  #connection;
  /** @type {Signaling} */ #signaling;
  /** Our candidates from before the socket opened or the offer went out. @type {RTCIceCandidate[]} */ #ours = [];
  /** The server's candidates from before its answer. @type {RTCIceCandidateInit[]} */ #theirs = [];
  #offered = false;
  #answered = false;
  #closed = false;
  /** Carries our voice to the camera, where it may. @type {RTCRtpSender | null} */ #voice = null;
  #sampleTimer = 0;
  #graceTimer = 0;
  #wayTimer = 0;
  /** @type {Sample | null} */ #sample = null;
  #lastFrameAt = performance.now();
  #lastPacketAt = performance.now();
  /** @type {{state: string, health?: string}} */ #stream = { state: '' };

  /**
   * @param {string} camera
   * @param {Server} server
   * @param {AttemptHandler} handler
   * @param {Signaling | null} invitation a socket that is open already
   * @param {boolean} speaks whether somebody may want to talk
   */
  constructor(camera, server, handler, invitation, speaks) {
    this.#camera = camera;
    this.#handler = handler;
    this.#connection = new RTCPeerConnection({ bundlePolicy: 'max-bundle' });
    this.#listen(speaks);
    const listener = {
      opened: () => this.#sendOffer(),
      received: (/** @type {import('./signaling.js').Message} */ message) => this.#receive(message),
      closed: (/** @type {string} */ why, /** @type {boolean} */ opened) => {
        if (!opened) this.#handler.refused();
        this.#end({ text: why, final: false, failed: false });
      },
    };
    if (invitation?.open) invitation.take(listener);
    else invitation?.close();
    this.#signaling = invitation?.open ? invitation : new Signaling(signalingUrl(server), listener);
    void this.#makeOffer(server);
  }

  /**
   * Tells somebody else from now on.
   *
   * @param {AttemptHandler} handler
   */
  serve(handler) {
    this.#handler = handler;
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

  /** Packets should be coming. */
  get mayFlow() {
    return this.#connection.connectionState === 'connected' && this.streamFlows;
  }

  /**
   * Whether any packet comes within this time.
   *
   * @param {number} patienceMs
   */
  async hears(patienceMs) {
    const first = await takeSample(this.#connection, null);
    while (!this.#closed && performance.now() - first.at < patienceMs) {
      await new Promise((done) => setTimeout(done, LOOK_AGAIN_MS));
      const { packets } = await takeSample(this.#connection, null);
      if (packets > first.packets) return true;
    }
    return false;
  }

  close() {
    if (this.#closed) return;
    this.#disconnect();
    this.#signaling.send({ type: 'stop' });
    this.#signaling.close();
  }

  #disconnect() {
    this.#closed = true;
    clearInterval(this.#sampleTimer);
    clearTimeout(this.#graceTimer);
    clearTimeout(this.#wayTimer);
    this.#connection.close();
  }

  /**
   * Asks for the turn to talk, with this sound; the handler hears what comes of it.
   *
   * @param {MediaStreamTrack} sound
   */
  async talk(sound) {
    await this.#voice?.replaceTrack(sound);
    this.#signaling.send({ type: 'talk' });
  }

  /** Talks no more. */
  async hush() {
    this.#signaling.send({ type: 'hush' });
    if (!this.#closed) await this.#voice?.replaceTrack(null);
  }

  /** @param {boolean} speaks */
  #listen(speaks) {
    const stream = new MediaStream();
    this.#connection.addTransceiver('video', { direction: 'recvonly' });
    // A way for the voice that is there from the start needs no further offer when somebody talks, and no microphone before.
    const { sender } = this.#connection.addTransceiver('audio', { direction: speaks ? 'sendrecv' : 'recvonly' });
    if (speaks) this.#voice = sender;
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

  /**
   * While the socket opens.
   *
   * @param {Server} server
   */
  async #makeOffer(server) {
    const servers = await iceServers(server);
    if (this.#closed) return;
    try {
      this.#connection.setConfiguration({ ...this.#connection.getConfiguration(), iceServers: servers });
    } catch {
      // One that the browser cannot use is no harm: most networks need none.
    }
    try {
      await this.#connection.setLocalDescription();
    } catch (error) {
      this.#end({ text: t('player.no-offer', { error: String(error) }), final: true, failed: true });
      return;
    }
    this.#sendOffer();
  }

  /** As soon as there are both an offer and a socket; candidates follow as they are found. */
  #sendOffer() {
    const offer = this.#connection.localDescription;
    if (this.#offered || !offer || !this.#signaling.open) return;
    this.#signaling.send({ type: 'viewer', cameraId: this.#camera, streamId: null, sdpOffer: offer.sdp, talk: this.#voice !== null });
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
        this.#handler.stream({ ...this.#stream, message: message.message && reason(message.cause, message.message), viewers: message.viewerCount });
        break;
      case 'stopped':
        this.#onStopped(reason(message.cause, String(message.reason)), message.state === 'error', message.retry === true);
        break;
      case 'talking':
        this.#handler.turn(true, '');
        break;
      case 'hushed':
        this.#handler.turn(false, message.message ? reason(message.cause, String(message.message)) : '');
        break;
      case 'error':
        // Once answered, an error concerns a single message of ours, not the picture.
        if (!this.#answered) this.#end({ text: refusal(message.cause, String(message.message)), final: message.retry === false, failed: true });
        break;
      default: // a newer server's message
    }
  }

  /**
   * The server has let this viewer go already.
   *
   * @param {string} text
   * @param {boolean} failed
   * @param {boolean} invited
   */
  #onStopped(text, failed, invited) {
    if (!invited) {
      this.#end({ text, final: true, failed });
      return;
    }
    if (this.#closed) return;
    this.#disconnect();
    this.#signaling.rest();
    this.#handler.ended({ text, final: false, failed, invitation: this.#signaling });
  }

  /** @param {string} sdp */
  async #answer(sdp) {
    try {
      await this.#connection.setRemoteDescription({ type: 'answer', sdp });
    } catch (error) {
      const text = playsH264() ? t('player.no-answer', { error: String(error) }) : t('player.no-h264');
      this.#end({ text, final: true, failed: true });
      return;
    }
    this.#answered = true;
    this.#wayTimer = window.setTimeout(() => this.#onNoWay(), NO_WAY_AFTER_MS);
    this.#theirs.splice(0).forEach((candidate) => this.#addCandidate(candidate));
  }

  /** @param {RTCIceCandidateInit} candidate */
  #addCandidate(candidate) {
    // One that the browser cannot use is no harm: there are others.
    this.#connection.addIceCandidate(candidate).catch(() => {});
  }

  /** Where packets never came through, they will hardly do so: most often UDP is blocked. */
  #onNoWay() {
    this.#end({ text: t('player.no-way'), final: false, failed: false });
  }

  #onConnectionState() {
    clearTimeout(this.#graceTimer);
    const lost = { text: t('player.media-lost'), final: false, failed: false };
    switch (this.#connection.connectionState) {
      case 'connected':
        clearTimeout(this.#wayTimer);
        this.#wayTimer = 0;
        this.#handler.connected();
        this.#lastFrameAt = this.#lastPacketAt = performance.now();
        if (!this.#sampleTimer) this.#sampleTimer = window.setInterval(() => void this.#measure(), SAMPLE_EVERY_MS);
        break;
      case 'disconnected':
        this.#graceTimer = window.setTimeout(() => this.#end(lost), DISCONNECTED_GRACE_MS);
        break;
      case 'failed':
      case 'closed':
        if (this.#wayTimer) this.#onNoWay();
        else this.#end(lost);
        break;
      default: // new, connecting
    }
  }

  async #measure() {
    const sample = await takeSample(this.#connection, this.#sample);
    if (this.#closed) return;
    if (!this.#sample || sample.frames > this.#sample.frames) this.#lastFrameAt = sample.at;
    if (!this.#sample || sample.packets > this.#sample.packets) this.#lastPacketAt = sample.at;
    this.#sample = sample;
    this.#handler.sampled(sample, sample.at - this.#lastFrameAt);
    if (this.mayFlow && sample.at - this.#lastPacketAt > SILENT_AFTER_MS) {
      this.#end({ text: t('player.media-lost'), final: false, failed: false });
    }
  }

  /** @param {Ending} ending */
  #end(ending) {
    if (this.#closed) return;
    this.close();
    this.#handler.ended(ending);
  }
}

/**
 * Why the server takes no offer, with what to do about it where we know that.
 *
 * @param {import('../i18n/i18n.js').Cause | undefined} cause
 * @param {string} said
 */
function refusal(cause, said) {
  return !playsH264() && said.includes('H.264') ? t('player.no-h264') : reason(cause, said);
}

/** Firefox has a plugin for it, which Debian's lacks, for example. With some servers such browsers see pictures all the same. */
function playsH264() {
  const codecs = RTCRtpReceiver.getCapabilities?.('video')?.codecs;
  return !codecs || codecs.some(({ mimeType }) => mimeType.toLowerCase() === 'video/h264');
}
