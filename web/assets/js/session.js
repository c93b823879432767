// @ts-check
/**
 * Who looks at the page, and what they may do. Nothing here keeps anybody out: the server does that.
 *
 * @typedef {{name: string, role: 'viewer' | 'operator' | 'admin', guest: boolean, cameras: string[] | null, password: boolean}} User `password`: they have one here
 * @typedef {{accounts: boolean, needs_setup: boolean, provider: {name: string, path: string} | null, may_talk: boolean, user: User | null}} Answer `provider`:
 *   where people can log in who have their account elsewhere
 */
import { call } from './api.js';

/** Whether somebody was known when this browser was here last: no more than a guess at what the server will say. */
const KNOWN_KEY = 'apiary.known';
/** Set in this browser once the set-up assistant was gone through or put off. */
export const WELCOMED_KEY = 'apiary.welcomed';

/** As the server last said. */
export const me = {
  /** @type {User | null} */ user: null,
  /** Whether accounts are on; without them everybody may do everything. */
  accounts: true,
  /** Whether cameras can be talked to, and this one may. */
  mayTalk: false,

  get mayOperate() {
    return this.user?.role === 'operator' || this.user?.role === 'admin';
  },

  get isAdmin() {
    return this.user?.role === 'admin';
  },

  /** Somebody with an account of their own. */
  get hasAccount() {
    return this.accounts && this.user !== null && !this.user.guest;
  },
};

/** Who was known on this page at any time. */
const seen = { guest: false, user: false };
/** @type {() => void} */ let hear;
/** Resolves once the server has said who looks: before that, {@link me} is nobody. */
export const heard = /** @type {Promise<void>} */ (new Promise((resolve) => { hear = resolve; }));

/** @returns {Promise<Answer>} */
export async function whoAmI() {
  /** @type {Answer} */ const answer = await call('GET', '/api/auth/me');
  me.user = answer.user;
  if (answer.user) seen[answer.user.guest ? 'guest' : 'user'] = true;
  me.accounts = answer.accounts;
  me.mayTalk = answer.may_talk;
  hear();
  return answer;
}

/**
 * Who looks at the page, for views that are for known people: others are led to where they can log in. While the server
 * cannot be reached nobody is led anywhere, nor is a guest whose share link is over: they have no account.
 *
 * @returns {Promise<'known' | 'stranger' | 'unreachable'>}
 */
export async function enter() {
  const answer = await whoAmI().catch(() => null);
  if (!answer) return 'unreachable';
  localStorage.setItem(KNOWN_KEY, answer.user ? 'yes' : 'no');
  if (answer.user) return 'known';
  if (!seen.guest) location.replace(`/login?next=${encodeURIComponent(location.pathname + location.search)}${seen.user ? '&ended' : ''}`);
  return 'stranger';
}

export function wasKnown() {
  return localStorage.getItem(KNOWN_KEY) === 'yes';
}

/** The address that somebody came from before they logged in; never one of another server. */
export function nextPage() {
  const next = new URL(new URLSearchParams(location.search).get('next') ?? '/', location.origin);
  return next.origin === location.origin ? next.pathname + next.search : '/';
}
