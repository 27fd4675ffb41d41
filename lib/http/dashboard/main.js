// The dashboard: asks for a token, and shows the data of the admin API.

import { html, render, useCallback, useEffect, useMemo, useRef, useState } from
  './vendor/preact.js';

import { Api } from './api.js';
import { CARDS_MAX, History, Overview } from './overview.js';
import { Messages } from './messages.js';
import { Payments } from './payments.js';
import { Audit, Report } from './records.js';
import { Badge, Text, usePoll } from './ui.js';

const TOKEN = 'sekering-token';
const BREAKERS_MS = 2000;
const LEVEL_MS = 15_000;
const HEALTH_MS = 30_000;
// Of each kind, so that many payments do not push out a breaker's changes.
const EVENTS_MAX = 100;
const SILENCES_MS = 30_000;
const SERVICE_MS = 60_000;
const NOTICE_MS = 8000;
// Lists are reloaded at most this often, however much happens.
const RELOAD_MS = 1000;
const SOON_MS = 50;

const VIEWS = [
  { id: 'overview', name: 'Overview', view: Overview, needs: () => true },
  { id: 'messages', name: 'Messages', view: Messages, needs: parts => parts.store },
  { id: 'payments', name: 'Payments', view: Payments, needs: parts => parts.payments },
  { id: 'report', name: 'Report', view: Report, needs: parts => parts.report },
  { id: 'audit', name: 'Audit', view: Audit, needs: () => true },
];

/** An event in words, for the list and for screen readers. */
function wordsOf (type, data) {
  switch (type) {
    case 'breaker': return `${data.name} is ${data.state.replace('-', ' ')}`;
    case 'degradation': return `Level ${data.from} → ${data.to}: ${data.reason}`;
    case 'dead-letter':
      return `Dead letter ${data.id} (${data.channel}) to ${data.recipient}: ` +
        [data.reason, data.lastError].filter(Boolean).join(': ');
    case 'delivery-failed':
      return `${data.id === null ? 'A message' : `Message ${data.id}`} to ${data.recipient} ` +
        `was not delivered: ${[data.code, data.reason].filter(Boolean).join(' ')}`;
    case 'payment': return `Order ${data.orderId}: ${data.from ?? 'new'} → ${data.to}`;
    case 'payment-held': return `Order ${data.orderId} needs a review: ${data.reason}`;
    case 'payment-released': return `Order ${data.orderId} no longer needs review`;
    case 'session': return data.message;
    default: return type;
  }
}

const AREAS = {
  'dead-letter': 'messages', 'delivery-failed': 'messages', payment: 'payments',
  'payment-held': 'payments', 'payment-released': 'payments',
};

/** The latest events of each kind. */
function kept (events) {
  const counts = new Map();
  return events.filter(({ type }) => {
    const count = (counts.get(type) ?? 0) + 1;
    counts.set(type, count);
    return count <= EVENTS_MAX;
  });
}

/** The live events: the latest ones, whether we are connected, and a counter for each area. */
function useEvents (api) {
  const [events, setEvents] = useState([]);
  const [connected, setConnected] = useState(false);
  const [turns, setTurns] = useState({});
  const waiting = useRef(new Set());
  useEffect(() => {
    let timer;
    let last = -Infinity;
    const bump = area => {
      waiting.current.add(area);
      const wait = Math.max(last + RELOAD_MS - performance.now(), SOON_MS);
      timer ??= setTimeout(() => {
        const areas = [...waiting.current];
        waiting.current.clear();
        timer = undefined;
        last = performance.now();
        setTurns(old => ({
          ...old, ...Object.fromEntries(areas.map(name => [name, (old[name] ?? 0) + 1])),
        }));
      }, wait);
    };
    const stop = api.follow((type, data) => {
      if (type === 'reset') return ['breaker', 'degradation', 'messages', 'payments'].forEach(bump);
      const event = { type, data, words: wordsOf(type, data), key: `${data.at}-${Math.random()}` };
      setEvents(old => kept([event, ...old]));
      bump(AREAS[type] ?? type);
    }, setConnected);
    return () => {
      clearTimeout(timer);
      stop();
    };
  }, [api]);
  return { events, connected, turns };
}

function Login ({ onToken, message }) {
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState(message);
  const send = async event => {
    event.preventDefault();
    const token = new FormData(event.target).get('token').trim();
    setBusy(true);
    try {
      // A header cannot hold other characters.
      if (!/^[\x21-\x7e]+$/.test(token)) throw new Error('This is not a valid token.');
      await new Api(token, () => {}).get('session');
      onToken(token);
    } catch (caught) {
      setError(caught.status === 401 ? 'This token is not valid.' : caught.message);
      setBusy(false);
    }
  };
  return html`<main class="login">
    <form onSubmit=${send}>
      <img src="icon.svg" width="48" height="48" alt=""/>
      <h1>sekering</h1>
      <label class="field">Access token
        <input name="token" type="password" required autocomplete="current-password" autofocus
          aria-describedby="login-error"/></label>
      <button class="primary" disabled=${busy}>Open the dashboard</button>
      <p id="login-error" class="problem" role="alert">${error}</p>
      <p class="quiet">The token stays in this tab, and is forgotten when you close it.</p>
    </form>
  </main>`;
}

function useRoute (views) {
  const [id, setId] = useState(location.hash.slice(1));
  useEffect(() => {
    const changed = () => setId(location.hash.slice(1));
    addEventListener('hashchange', changed);
    return () => removeEventListener('hashchange', changed);
  }, []);
  return views.find(view => view.id === id) ?? views[0];
}

function useNotices () {
  const [notices, setNotices] = useState([]);
  const notify = useCallback((text, tone = 'good') => {
    const notice = { text, tone, key: Math.random() };
    setNotices(old => [...old, notice].slice(-4));
    setTimeout(() => setNotices(old => old.filter(other => other !== notice)), NOTICE_MS);
  }, []);
  return [notices, notify];
}

function Header ({ session, live, level, counts, open, onLeave }) {
  return html`<header>
    <a class="skip" href="#content" onClick=${event => {
      event.preventDefault();
      document.querySelector('#content').focus();
    }}>Skip to content</a>
    <div class="brand"><img src="icon.svg" width="24" height="24" alt=""/><h1>sekering</h1></div>
    <div class="vitals">
      ${level && html`<${Badge} tone=${level.index === 0 ? 'good' : level.index === 1 ? 'warn'
        : 'bad'}>${level.name}<//>`}
      ${counts && html`<${Badge} tone=${open === 0 ? 'good' : 'bad'}>
        ${open === 0 ? 'no breaker open' : `${open} open`}<//>`}
      <${Badge} tone=${live ? 'good' : 'warn'}>${live ? 'live' : 'not connected'}<//>
    </div>
    <div class="who">
      <span class="quiet"><${Text}>${session.name}<//> · ${session.role === 'operate'
        ? 'may operate' : 'read only'}</span>
      <button onClick=${onLeave}>Log out</button>
    </div>
  </header>`;
}

/** Loads the history of the server: at the start, after a lost connection, and when shown again. */
function useHistory (api, { parts }, connected, filter) {
  const [history] = useState(() => new History());
  useEffect(() => {
    if (!parts.history || !connected) return;
    const controller = new AbortController();
    const begin = () => !document.hidden &&
      // Without it the charts begin now.
      api.get('breaker-history', { ...filter, limit: CARDS_MAX }, controller.signal)
        .then(past => history.begin(past), () => {});
    begin();
    document.addEventListener('visibilitychange', begin);
    return () => {
      controller.abort();
      document.removeEventListener('visibilitychange', begin);
    };
  }, [api, connected, filter.search, filter.state]);
  return history;
}

function Shell ({ api, session, onLeave }) {
  const { events, connected, turns } = useEvents(api);
  const views = useMemo(() => VIEWS.filter(({ needs }) => needs(session.parts)), [session]);
  const route = useRoute(views);
  const [notices, notify] = useNotices();
  const [filter, setFilter] = useState({});
  const history = useHistory(api, session, connected, filter);
  const breakers = usePoll(async signal => {
    const data = await api.get('circuit-breakers', filter, signal);
    history.add(data);
    return data;
  }, BREAKERS_MS, [api, turns.breaker, filter.search, filter.state]);
  const degradation = usePoll(signal => session.parts.degradation
    ? api.get('degradation', {}, signal) : undefined, LEVEL_MS, [api, turns.degradation]);

  const silences = usePoll(async signal => {
    if (!session.parts.store) return new Map();
    const { silences: list } = await api.get('silences', {}, signal);
    return new Map(list.map(silence => [silence.name, silence]));
  }, SILENCES_MS, [api]);
  const service = usePoll(signal => session.parts.service
    ? api.get('service', {}, signal) : undefined, SERVICE_MS, [api]);
  const silenced = silences.data ?? new Map();
  const isLoud = ({ type, data }) => type !== 'breaker' || !silenced.has(data.name);
  // Open ones come first in the list, so all silenced ones among them are there.
  const quiet = (breakers.data?.breakers ?? [])
    .filter(({ name, state }) => state === 'open' && silenced.has(name)).length;
  const open = Math.max((breakers.data?.counts.open ?? 0) - quiet, 0);

  const health = usePoll(signal => session.parts.health
    ? api.get('health', {}, signal) : undefined, HEALTH_MS,
  [api, turns.degradation, turns.breaker]);

  useEffect(() => {
    document.title = `${open > 0 ? `(${open} open) ` : ''}${route.name} – sekering`;
  }, [route, open]);

  const context = {
    api, session, events, turns, notify, history, breakers, degradation, health, service, filter,
    setFilter, silenced, reloadSilences: silences.reload,
    mayOperate: session.role === 'operate',
  };
  return html`
    <${Header} session=${session} live=${connected && breakers.error === undefined}
      level=${degradation.data?.level} counts=${breakers.data?.counts} open=${open}
      onLeave=${onLeave} />
    <nav aria-label="Views">${views.map(({ id, name }) => html`<a key=${id} href=${`#${id}`}
      aria-current=${id === route.id ? 'page' : undefined}>${name}</a>`)}</nav>
    <main id="content" tabindex="-1"><${route.view} key=${route.id} ...${context} /></main>
    <div class="visually-hidden" role="status" aria-live="polite" data-part="announcer">
      ${events.find(isLoud)?.words ?? ''}</div>
    <div class="notices" role="status" aria-live="polite">${notices.map(({ text, tone, key }) =>
      html`<p key=${key} class="notice ${tone}"><${Badge} tone=${tone}><${Text}>${text}<//><//>
      </p>`)}</div>`;
}

function App () {
  const [token, setToken] = useState(sessionStorage.getItem(TOKEN));
  const [session, setSession] = useState(undefined);
  const [message, setMessage] = useState('');
  const leave = useCallback((why = '') => {
    sessionStorage.removeItem(TOKEN);
    setMessage(typeof why === 'string' ? why : '');
    setSession(undefined);
    setToken(null);
  }, []);
  const api = useMemo(() => token === null ? undefined
    : new Api(token, () => leave('The token is no longer valid.')), [token]);
  useEffect(() => {
    let timer;
    const begin = () => api?.get('session').then(setSession, error => {
      setMessage(error.message);
      timer = setTimeout(begin, 2000);
    });
    begin();
    return () => clearTimeout(timer);
  }, [api]);
  if (token === null) {
    return html`<${Login} message=${message} onToken=${entered => {
      sessionStorage.setItem(TOKEN, entered);
      setMessage('');
      setToken(entered);
    }} />`;
  }
  if (session === undefined) {
    return html`<main class="login"><p role="status">${message === '' ? 'One moment …'
      : `${message} Trying again …`}</p></main>`;
  }
  return html`<${Shell} api=${api} session=${session} onLeave=${leave} />`;
}

render(html`<${App} />`, document.querySelector('#app'));
