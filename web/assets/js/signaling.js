// @ts-check
/**
 * The WebSocket to the gateway: JSON messages in both directions, nothing of WebRTC.
 *
 * @typedef {{type: string, [field: string]: any}} Message
 * @typedef {{opened: () => void, received: (message: Message) => void, closed: (why: string) => void}} SignalingHandler
 *   `closed` is called once at most, and not after `close`.
 */
import { enter } from './session.js';

/** How long the socket may take to open before the attempt counts as failed. */
const OPEN_TIMEOUT_MS = 8000;

/** Where signaling is served: on the page's own origin. */
export function signalingUrl() {
  const url = new URL('/ws', location.href);
  url.protocol = location.protocol === 'https:' ? 'wss:' : 'ws:';
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
      // A browser does not say why; that nobody is logged in any more is one reason.
      if (!this.#opened) void enter();
      this.#handler.closed(event.reason || 'the connection to the server was lost');
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
