// @ts-check
/**
 * The WebSocket to the gateway: JSON messages in both directions, nothing of WebRTC.
 *
 * @typedef {{origin: string, token: string}} Server where it is, and what shows who asks where no cookie does
 * @typedef {{type: string, [field: string]: any}} Message
 * @typedef {{opened: () => void, received: (message: Message) => void, closed: (why: string, opened: boolean) => void}} SignalingHandler
 *   `closed` is called once at most, and not after `close`; `opened`: whether the socket ever was open.
 */
import { t } from '../i18n/i18n.js';

/** How long the socket may take to open before the attempt counts as failed. */
const OPEN_TIMEOUT_MS = 8000;

/**
 * Where signaling is served.
 *
 * @param {Server} server
 */
export function signalingUrl({ origin, token }) {
  const url = new URL('/ws', origin);
  url.protocol = url.protocol === 'https:' ? 'wss:' : 'ws:';
  if (token) url.searchParams.set('access_token', token);
  return url.href;
}

/** Who rests hears nothing. @type {SignalingHandler} */
const NOBODY = { opened() {}, received() {}, closed() {} };

export class Signaling {
  /** @type {WebSocket} */ #socket;
  /** @type {SignalingHandler} */ #handler;
  #timer = 0;
  #opened = false;

  /**
   * @param {string} url
   * @param {SignalingHandler} handler
   */
  constructor(url, handler) {
    this.#handler = handler;
    this.#socket = new WebSocket(url);
    this.#timer = window.setTimeout(() => this.#socket.close(), OPEN_TIMEOUT_MS);
    this.#socket.onopen = () => {
      clearTimeout(this.#timer);
      this.#opened = true;
      this.#handler.opened();
    };
    this.#socket.onmessage = (event) => {
      const message = parse(event.data);
      if (message) this.#handler.received(message);
    };
    this.#socket.onclose = (event) => {
      clearTimeout(this.#timer);
      this.#handler.closed(event.reason || t('player.socket-lost'), this.#opened);
    };
  }

  /** The socket stays open, for somebody else to {@link take}. */
  rest() {
    this.#handler = NOBODY;
  }

  /**
   * Serves somebody else from now on.
   *
   * @param {SignalingHandler} handler
   */
  take(handler) {
    this.#handler = handler;
  }

  /** @param {Message} message */
  send(message) {
    if (this.open) this.#socket.send(JSON.stringify(message));
  }

  get open() {
    return this.#socket.readyState === WebSocket.OPEN;
  }

  /** It was open, or tried to be, and is no more: a browser that slept may say so before it fires any event. */
  get lost() {
    return this.#socket.readyState >= WebSocket.CLOSING;
  }

  close() {
    clearTimeout(this.#timer);
    this.#socket.onopen = this.#socket.onmessage = this.#socket.onclose = null;
    this.#socket.close();
  }
}

/**
 * @param {unknown} text
 * @returns {Message | null} `null` for what is no message; a newer server may send what this page does not know.
 */
function parse(text) {
  try {
    const message = JSON.parse(String(text));
    return message && typeof message.type === 'string' ? message : null;
  } catch {
    return null;
  }
}
