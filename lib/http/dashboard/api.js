// The admin API as the dashboard uses it. The token is sent in a header, which pages of other sites
// cannot set. So events are read by fetch, as EventSource sends no such header.

const BASE = new URL('../admin/reliability/', document.baseURI);
const RETRY_MS = 1000;
const RETRY_MS_MAX = 15_000;
// The server sends a sign of life every 15 s. After three times that, the connection is dead.
const SILENCE_MS_MAX = 45_000;

export class ApiError extends Error {
  constructor (status, problem) {
    super(problem?.detail ?? problem?.title ?? `The server answered ${status}.`);
    this.status = status;
    this.code = problem?.code;
  }
}

function addressOf (path, query = {}) {
  const url = new URL(path, BASE);
  for (const [name, value] of Object.entries(query)) {
    if (value !== undefined && value !== '') url.searchParams.set(name, value);
  }
  return url;
}

export class Api {
  #token;
  #onRefused;

  constructor (token, onRefused) {
    this.#token = token;
    this.#onRefused = onRefused;
  }

  async #fetch (path, { query, ...options } = {}) {
    const response = await fetch(addressOf(path, query), {
      cache: 'no-store',
      credentials: 'omit',
      redirect: 'error',
      ...options,
      headers: { authorization: `Bearer ${this.#token}`, ...options.headers },
    });
    if (response.ok) return response;
    const problem = await response.json().catch(() => undefined);
    if (response.status === 401) this.#onRefused();
    throw new ApiError(response.status, problem);
  }

  async get (path, query, signal) {
    return (await this.#fetch(path, { query, signal })).json();
  }

  async text (path, query) {
    return (await this.#fetch(path, { query })).text();
  }

  async post (path, body = {}) {
    const response = await this.#fetch(path, {
      method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(body),
    });
    return response.json();
  }

  /** Reads events until the returned function is called. It reconnects by itself. */
  follow (onEvent, onState) {
    let controller;
    let ended = false;
    let lastId;
    let failures = 0;
    const read = async () => {
      controller = new AbortController();
      const { signal } = controller;
      const headers = lastId === undefined ? {} : { 'last-event-id': lastId };
      const response = await this.#fetch('events', { signal, headers });
      onState(true);
      failures = 0;
      for await (const { id, event, data } of eventsOf(response.body, controller)) {
        lastId = id ?? lastId;
        onEvent(event, JSON.parse(data));
      }
    };
    let timer;
    const run = async () => {
      try {
        await read();
      } catch (error) {
        if (error.status === 401 || error.status === 404) return;
      }
      if (ended) return;
      onState(false);
      const wait = Math.min(RETRY_MS * 2 ** failures++, RETRY_MS_MAX);
      timer = setTimeout(run, wait * (0.5 + Math.random() / 2));
    };
    run();
    return () => {
      ended = true;
      clearTimeout(timer);
      controller.abort();
    };
  }
}

/** The events of a stream, as the HTML standard reads them. */
async function * eventsOf (body, controller) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = '';
  for (;;) {
    const timer = setTimeout(() => controller.abort(), SILENCE_MS_MAX);
    const { value, done } = await reader.read();
    clearTimeout(timer);
    if (done) return;
    const blocks = (rest + value).split('\n\n');
    rest = blocks.pop();
    for (const block of blocks) {
      const fields = Object.fromEntries(block.split('\n').filter(line => !line.startsWith(':'))
        .map(line => /^([^:]*)(?:: ?(.*))?$/.exec(line).slice(1)));
      if (fields.data !== undefined) yield fields;
    }
  }
}
