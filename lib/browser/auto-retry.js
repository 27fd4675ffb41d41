// Retries what could not be loaded, shows the progress, and ends with a button.

const TEXT = {
  waiting: (n, tries, s) => `Trying again in ${s} s (${n} of ${tries}).`,
  trying: 'Trying again',
  failed: 'That did not work.',
  button: 'Refresh',
  stale: minutes => `This may be outdated (${minutes} min old).`
};

function make (tag, parent, name) {
  const element = document.createElement(tag);
  element.className = `sekering-${name}`;
  parent.append(element);
  return element;
}

// Replaces an older panel; screen readers read its line aloud.
function panelIn (container, name) {
  const parent = container.tagName ? container : document.querySelector(container);
  parent.querySelector(`:scope > .sekering-${name}`)?.remove();
  const panel = make('div', parent, name);
  const line = make('span', panel, 'text');
  line.setAttribute('role', 'status');
  line.setAttribute('aria-live', 'polite');
  return { panel, line };
}

export function staleNotice (container, ageMs, text = TEXT.stale) {
  const { panel, line } = panelIn(container, 'stale');
  line.textContent = text(Math.ceil(ageMs / 60000));
  return panel;
}

export async function autoRetry (task, {
  container = document.body, tries = 3, interval = 5000, text, signal, failed
} = {}) {
  const words = { ...TEXT, ...text };
  let shown;
  const say = what => {
    shown ??= panelIn(container, 'retry');
    shown.line.textContent = what;
    shown.line.nextSibling?.remove();
  };
  const pause = n => new Promise(resolve => {
    say(words.waiting(n, tries, interval / 1000));
    const bar = make('progress', shown.panel, 'progress');
    const began = Date.now();
    const timer = setInterval(() => {
      bar.value = (Date.now() - began) / interval;
      if (bar.value < 1 && !signal?.aborted) return;
      resolve(clearInterval(timer));
    }, 100);
  });
  const click = () => new Promise(resolve => {
    say(words.failed);
    const button = make('button', shown.panel, 'button');
    button.type = 'button';
    button.textContent = words.button;
    button.onclick = resolve;
    signal?.addEventListener('abort', resolve);
  });
  try {
    for (let n = failed ? 1 : 0, final; ; n++) {
      if (n) {
        await (final || n > tries ? click() : pause(n));
        signal?.throwIfAborted();
        say(words.trying);
      }
      try {
        const value = await task({ signal });
        if (value?.ok !== false) return value;
        // Another 4xx would follow.
        final = !/^(5|408|429)/.test(value.status);
      } catch {
        final = false;
      }
      signal?.throwIfAborted();
    }
  } finally {
    shown?.panel.remove();
  }
}

// For a page that is itself the error.
export async function retryPage (options) {
  await autoRetry(() => fetch(location, { cache: 'no-store' }), { ...options, failed: true });
  location.reload();
}

// <div data-auto-retry data-tries="3" data-interval="5000"> needs no script.
const mark = globalThis.document?.querySelector('[data-auto-retry]');
if (mark) retryPage({ ...mark.dataset, container: mark });
