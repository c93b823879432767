// @ts-check
/**
 * One's account, and for administrators those of others.
 *
 * Names are set as text, never as markup.
 */
import { call, listCameras } from './api.js';
import { enter, onSubmit, tell } from './session.js';
import { cameraName } from './words.js';

const HOUR_MS = 3_600_000;
/** A receiver of webhooks has ten seconds to answer. */
const WEBHOOKS_TIMEOUT_MS = 15_000;
/** What a role may do, in words. @type {Record<string, string>} */
const MAY = { viewer: 'watches', operator: 'watches, starts and stops', admin: 'may do everything' };

const notice = byId('notice');
/** The name of each camera by its id. @type {Map<string, string>} */
const names = new Map();

void begin();

async function begin() {
  const me = await enter();
  if (!me?.user) return tell(notice, 'The server cannot be reached.', true);
  byId('who').textContent = me.accounts ? `${me.user.name} ${MAY[me.user.role]}` : 'Accounts are off';
  if (!me.accounts || me.user.guest) {
    for (const panel of document.querySelectorAll('main .panel')) /** @type {HTMLElement} */ (panel).hidden = true;
    tell(notice, me.accounts
      ? 'You came with a share link, which has no account.'
      : 'Accounts are off here: whoever reaches this server may do everything. The setting auth.enabled turns them on.');
    byId('log-out').hidden = !me.accounts;
  }
  byId('log-out').addEventListener('click', () => void run(async () => {
    await call('POST', '/api/auth/logout');
    location.replace('/login');
  }));
  if (me.user.role === 'admin') offerWebhookTest();
  if (!me.accounts || me.user.guest) return;
  await run(showCameras);
  byId('users-panel').hidden = me.user.role !== 'admin';
  for (const id of ['token-role', 'user-role']) forbidAbove(id, me.user.role);
  await refresh(me.user.role === 'admin');
  forms(me.user.role === 'admin');
}

/** @param {boolean} admin */
async function refresh(admin) {
  await run(async () => {
    await Promise.all([showShares(admin), showSessions(admin), showTokens(admin), ...(admin ? [showUsers()] : [])]);
  });
}

async function showCameras() {
  const { cameras } = await listCameras();
  for (const camera of cameras) {
    const name = cameraName(camera.camera_id, camera.name);
    names.set(camera.camera_id, name);
    byId('share-camera').append(new Option(name, camera.camera_id));
    const label = document.createElement('label');
    const box = document.createElement('input');
    box.type = 'checkbox';
    box.value = camera.camera_id;
    label.append(box, name);
    byId('user-cameras').append(label);
  }
}

/** @param {boolean} admin */
async function showShares(admin) {
  const { shares } = await call('GET', '/api/shares');
  fill('shares', shares, (share) => ({
    title: `${nameOf(share.camera_id)} for ${share.label}`,
    facts: `until ${when(share.expires_at)}`,
    actions: [
      ['Copy link', () => copy(location.origin + share.path)],
      ['End', () => remove(`/api/shares/${share.id}`, admin)],
    ],
  }));
}

/** @param {boolean} admin */
async function showSessions(admin) {
  const { sessions } = await call('GET', '/api/auth/sessions');
  fill('sessions', sessions, (session) => ({
    title: session.current ? `${session.user}, this browser` : session.user,
    facts: [session.user_agent, session.ip_address, `since ${when(session.created_at)}`].filter(Boolean).join(' · '),
    actions: session.current ? [] : [['End', () => remove(`/api/auth/sessions/${session.id}`, admin)]],
  }));
}

/** @param {boolean} admin */
async function showTokens(admin) {
  const { tokens } = await call('GET', '/api/tokens');
  fill('tokens', tokens, (token) => ({
    title: token.name,
    facts: [MAY[token.role], seen(token.cameras), token.expires_at && `until ${when(token.expires_at)}`].filter(Boolean).join(' · '),
    actions: [['End', () => remove(`/api/tokens/${token.id}`, admin)]],
  }));
}

async function showUsers() {
  const { users } = await call('GET', '/api/users');
  fill('users', users, (user) => ({
    title: user.name,
    facts: `${MAY[user.role]} · ${seen(user.cameras)}`,
    actions: [['Remove', () => confirm(`Remove ${user.name}, with all logins, tokens and share links?`)
      ? remove(`/api/users/${user.id}`, true) : Promise.resolve()]],
  }));
}

function offerWebhookTest() {
  byId('webhooks-panel').hidden = false;
  const button = /** @type {HTMLButtonElement} */ (byId('webhooks-test'));
  button.addEventListener('click', () => void run(async () => {
    button.disabled = true;
    try {
      const { receivers } = await call('POST', '/api/webhooks/test', undefined, WEBHOOKS_TIMEOUT_MS);
      fill('webhooks', receivers, ({ receiver, delivered, status, error }) => ({
        title: receiver,
        facts: delivered ? `took it (${status})` : error,
        actions: [],
      }));
    } finally {
      button.disabled = false;
    }
  }));
}

/** @param {boolean} admin */
function forms(admin) {
  onSubmit(form('share-form'), notice, async () => {
    const ends = new Date(Date.now() + Number(valueOf('share-time')) * HOUR_MS);
    const made = await call('POST', '/api/shares', {
      camera_id: valueOf('share-camera'), label: valueOf('share-label'), expires_at: ends.toISOString(),
    });
    form('share-form').reset();
    await refresh(admin);
    await copy(location.origin + made.path);
  });
  onSubmit(form('token-form'), notice, async () => {
    const made = await call('POST', '/api/tokens', { name: valueOf('token-name'), role: valueOf('token-role') });
    form('token-form').reset();
    byId('token-secret').textContent = made.token;
    byId('token-secret').hidden = false;
    await refresh(admin);
  });
  onSubmit(form('user-form'), notice, async () => {
    const ticked = [...byId('user-cameras').querySelectorAll('input')].filter((box) => box.checked);
    await call('POST', '/api/users', {
      name: valueOf('user-name'), password: valueOf('user-password'), role: valueOf('user-role'),
      ...(ticked.length > 0 && { cameras: ticked.map((box) => box.value) }),
    });
    form('user-form').reset();
    await refresh(admin);
  });
  onSubmit(form('password-form'), notice, async () => {
    await call('POST', '/api/auth/password', { current: valueOf('password-now'), new: valueOf('password-new') });
    form('password-form').reset();
    tell(notice, 'The password is changed. All other browsers are logged out.');
    await refresh(admin);
  });
}

/**
 * @param {string} list
 * @param {any[]} things
 * @param {(thing: any) => {title: string, facts: string, actions: [string, () => Promise<void>][]}} describe
 */
function fill(list, things, describe) {
  const template = /** @type {HTMLTemplateElement} */ (byId('row'));
  byId(list).replaceChildren(...things.map((thing) => {
    const { title, facts, actions } = describe(thing);
    const row = /** @type {HTMLElement} */ (template.content.firstElementChild?.cloneNode(true));
    /** @type {HTMLElement} */ (row.querySelector('.row-title')).textContent = title;
    /** @type {HTMLElement} */ (row.querySelector('.facts')).textContent = facts;
    row.querySelector('.actions')?.append(...actions.map(([word, action]) => {
      const button = document.createElement('button');
      button.type = 'button';
      button.className = 'button';
      button.textContent = word;
      button.setAttribute('aria-label', `${word}: ${title}`);
      button.addEventListener('click', () => void run(action));
      return button;
    }));
    return row;
  }));
}

/**
 * @param {string} path
 * @param {boolean} admin
 */
async function remove(path, admin) {
  await call('DELETE', path);
  await refresh(admin);
}

/** @param {string} text */
async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    tell(notice, 'The link is copied.');
  } catch {
    tell(notice, text); // without HTTPS browsers have no clipboard for pages
  }
}

/** @param {() => Promise<void>} action */
async function run(action) {
  try {
    await action();
  } catch (error) {
    tell(notice, error instanceof Error ? error.message : String(error), true);
  }
}

/**
 * Nobody gives more than they have.
 * @param {string} select
 * @param {string} role
 */
function forbidAbove(select, role) {
  const order = ['viewer', 'operator', 'admin'];
  for (const option of byId(select).querySelectorAll('option')) {
    option.disabled = order.indexOf(option.value) > order.indexOf(role);
  }
}

/** @param {string} camera */
function nameOf(camera) {
  return names.get(camera) ?? cameraName(camera);
}

/** @param {string[] | null} cameras */
function seen(cameras) {
  return cameras === null ? 'all cameras' : cameras.map(nameOf).join(', ') || 'no camera';
}

/** @param {string} time */
function when(time) {
  return new Date(time).toLocaleString([], { dateStyle: 'medium', timeStyle: 'short' });
}

/** @param {string} id */
function form(id) {
  return /** @type {HTMLFormElement} */ (byId(id));
}

/** @param {string} id */
function valueOf(id) {
  return /** @type {HTMLInputElement} */ (byId(id)).value;
}

/** @param {string} id */
function byId(id) {
  const element = document.getElementById(id);
  if (!element) throw new Error(`the page lacks #${id}`);
  return element;
}
