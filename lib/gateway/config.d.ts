import { BackoffJitter, BackoffStrategy } from '../primitives/backoff';
import { ErrorKind, StatusClass } from '../primitives/classify';
import { Policy } from '../primitives/policy';
import { LevelName } from './degradation';
import { PresetName, ProfileName } from '../primitives/presets';

/**
 * Milliseconds, or text in the format of Go's time.ParseDuration: one or more decimal numbers, each
 * with its unit (ns, us, µs, ms, s, m, h), such as "500ms", "1.5s" or "1h30m".
 */
export type Duration = number | string;

/**
 * Override the presets. `D` is the type of durations; in a configuration that has been read, it is
 * number (ms).
 */
export interface RetryFigures<D = Duration> {
  /** False: one attempt. The outbox still retries its messages, as `outbox.maxAttempts` says. */
  enabled?: boolean | undefined;
  /** Attempts after the first. Default: the preset's. */
  retries?: number | undefined;
  /** How delays grow. Default: the preset's, 'exponential'. */
  strategy?: BackoffStrategy | undefined;
  /** By what each delay is multiplied. Default: the preset's. */
  factor?: number | undefined;
  /** The first delay. Default: the preset's. */
  minTimeout?: D | undefined;
  /** The longest delay. Default: the preset's. */
  maxTimeout?: D | undefined;
  /** Whether each delay is multiplied by a random number from 1 to 2. Default: the preset's. */
  randomize?: boolean | undefined;
  /** True: ±10 %. */
  jitter?: BackoffJitter | boolean | undefined;
  /** Another name of `retries`. */
  maxRetries?: number | undefined;
  /** Another name of `minTimeout`. */
  initialDelay?: D | undefined;
  /** Another name of `maxTimeout`. */
  maxDelay?: D | undefined;
  /** Another name of `factor`. */
  multiplier?: number | undefined;
}

/** Override the presets; percentages as in the options of a CircuitBreaker. */
export interface BreakerFigures<D = Duration> {
  /** False: the breaker lets every call pass. */
  enabled?: boolean | undefined;
  /** Percentage of failures, 0 to 100, at which it opens. Default: the preset's. */
  errorThresholdPercentage?: number | undefined;
  /** Calls in the window before the percentage counts. Default: the preset's. */
  volumeThreshold?: number | undefined;
  /** Failures in a row that open it. Default: the preset's. */
  consecutiveFailures?: number | undefined;
  /** Failures in the window that open it. Default: the preset's. */
  failureCount?: number | undefined;
  /** How many of the last calls are judged, instead of a time. Default: the preset's. */
  slidingWindowSize?: number | undefined;
  /** Calls among these before they are judged. Default: the preset's. */
  minimumCalls?: number | undefined;
  /** A call that takes longer is slow. Default: the preset's. */
  slowCallDuration?: D | undefined;
  /** Percentage of slow calls, 0 to 100, at which it opens. Default: the preset's. */
  slowCallThresholdPercentage?: number | undefined;
  /**
   * How long it stays open, or how that grows with each opening in a row. Default: the preset's.
   */
  resetTimeout?: D | {
    /** The first time; by what it grows with each opening in a row, default 2; the longest one. */
    initial: D; factor?: number | undefined; max?: D | undefined;
  } | undefined;
  /** Calls at the same time while it is half open. Default: the preset's. */
  halfOpenProbes?: number | undefined;
  /** If it is set, the profile's `rampUp` does not apply. */
  successThreshold?: number | undefined;
  /** How long after closing only a growing share of the calls passes. Default: the preset's. */
  rampUp?: D | undefined;
  /** Length of the window of counts. Default: the preset's. */
  rollingCountTimeout?: D | undefined;
  /** Into how many buckets the window is divided. Default: the preset's. */
  rollingCountBuckets?: number | undefined;
  /** Another name of `consecutiveFailures`. */
  failureThreshold?: number | undefined;
  /** Another name of `resetTimeout`: how long it stays open. Not the time limit of a call. */
  timeout?: D | undefined;
}

/** The answer when an upstream fails: an old answer, the default, or that of your function. */
export type FallbackStrategy = 'cache' | 'default' | 'degraded';

interface ClientSection<D = Duration> {
  /** Time limit of one attempt. Default: the shorter one of the preset and the profile. */
  timeout?: D | undefined;
  /** Overrides the preset and `retry.circuitBreaker`. */
  circuitBreaker?: BreakerFigures<D> | undefined;
}

interface ChannelSection<D = Duration> extends ClientSection<D> {
  /** Messages in flight at once, 1 to 1000, default 5. */
  concurrency?: number | undefined;
}

/** How to reach a mail relay: host or url. */
interface RelaySection {
  /** Of the relay. Either this or `url`. */
  host?: string | undefined;
  /** Default: nodemailer's, 587, or 465 with `secure`. */
  port?: number | string | undefined;
  /** Whether the connection begins with TLS (port 465). Default false: STARTTLS. */
  secure?: boolean | undefined;
  /** True: never use TLS. Unless the host is this machine, it also needs `requireTls: false`. */
  ignoreTls?: boolean | undefined;
  /**
   * Whether passwords and mails are never sent without TLS. Default true, unless the host is this
   * machine (localhost, 127.0.0.0/8, ::1). With `secure`, the connection always begins with TLS.
   */
  requireTls?: boolean | undefined;
  /** For the login. Default: no login. */
  user?: string | undefined;
  /** For the login. */
  password?: string | undefined;
  /** All in one: smtp://user:password@host:port, or smtps://. Either this or `host`. */
  url?: string | undefined;
}

/** A cron pattern of five or six fields; false: never. */
export type Cron = string | false;

/**
 * The configuration of a gateway. In TOML the names have underscores. In place of any text,
 * `env:NAME` stands for the environment variable NAME, and `file:PATH` for the content of a file
 * without the line break at its end. A relative path is resolved from the folder of the TOML file
 * (for an object, from the current folder).
 */
export interface GatewayConfig<D = Duration> {
  /** Default 'production'. */
  profile?: ProfileName | undefined;
  /** Where it listens, and for whom. */
  server?: {
    /** Default '127.0.0.1'. */
    host?: string | undefined;
    /** Default 3000; 0 takes a free one. */
    port?: number | string | undefined;
    /** Maximum size of a request's body in bytes, 1024 to 16777216, default 65536. */
    bodyLimit?: number | undefined;
    /**
     * Connections at once, 1 to 100000, default 2000. One more takes the place of the one that has
     * waited longest for its client.
     */
    connections?: number | undefined;
    /**
     * How late the event loop may be, 1 to 60000, default 500. While it is later for longer,
     * requests of low priority are refused: messages first, then questions about orders, then
     * orders. False, the default in the profile testing: none is.
     */
    maxLoopDelay?: false | D | undefined;
    /**
     * Whose X-Forwarded-For is trusted; default false: nobody's. The number of proxies in front, 0
     * to 100; or their addresses, as a list or a text with commas: networks (10.0.0.0/8) and the
     * names loopback, linklocal, uniquelocal. Never true: clients could choose their address.
     */
    trustProxy?: false | number | string | string[] | undefined;
    /** Of clients that may create orders and send messages; without any, nobody can. */
    tokens?: Array<{ name: string; token: string }> | undefined;
    /** How long requests and messages in flight may take when it stops, default 10000. */
    shutdownTimeout?: D | undefined;
  } | undefined;
  /** One of url, directory (the default, 'sekering-data') and memory. */
  store?: {
    /** PostgreSQL: postgres://user:password@host:port/database. */
    url?: string | undefined;
    /** An address that bypasses a pooler in transaction mode, for LISTEN. */
    directUrl?: string | undefined;
    /** A folder for the embedded database. One process at a time can use it. */
    directory?: string | undefined;
    /** True: an embedded database that is lost at the end, for tests. Default false. */
    memory?: boolean | undefined;
    /** Of its tables: a-z, 0-9 and _. Default 'sekering'. */
    schema?: string | undefined;
    /** Whether to migrate the schema at the start, default true; else see `sekering migrate`. */
    migrate?: boolean | undefined;
    /** To PostgreSQL, 1 to 1000, default 10. */
    connections?: number | undefined;
    /** Time limit of a statement, default 10000. */
    timeout?: D | undefined;
    /** How long createGateway waits for a database that is down, default 60000; 0: not at all. */
    startTimeout?: D | undefined;
  } | undefined;
  /** Without this section the gateway takes no orders. */
  midtrans?: ClientSection<D> & {
    /** The key of the server; with it anybody could forge payments. */
    serverKey: string;
    /** Whether to use Midtrans's production instead of its sandbox. Default false. */
    production?: boolean | undefined;
    /** Other addresses, for tests and proxies. */
    snapUrl?: string | undefined;
    /** As `snapUrl`, for the Core API. */
    coreUrl?: string | undefined;
    /** Connections to each address. Default: that of the client. */
    connections?: number | undefined;
    /** The key with which Iris signs notifications of payouts. */
    irisMerchantKey?: string | undefined;
    /** A regular expression that the shop's order ids match. */
    orderIdPattern?: string | undefined;
  } | undefined;
  /** One of host, url and relays. */
  smtp?: ChannelSection<D> & RelaySection & {
    /**
     * 1 to 10 relays, tried in order. `requireTls` and `circuitBreaker` of the section are their
     * defaults.
     */
    relays?: Array<RelaySection & {
      /** Default '1', '2' and so on. The breaker has the name `smtp.${name}`. */
      name?: string | undefined;
      /** Overrides the section's `from`. */
      from?: string | undefined;
      /** The defaults of all relays. */
      circuitBreaker?: BreakerFigures<D> | undefined;
    }> | undefined;
    /** The sender, such as "Shop <orders@example.com>". */
    from: string;
  } | undefined;
  /** Either cloud or green. */
  whatsapp?: ChannelSection<D> & {
    /** The country of numbers that begin with 0, as in '62': 0812… is then +62812…. */
    countryCode?: string | undefined;
    /** The WhatsApp Cloud API. */
    cloud?: {
      /** Of the app at Meta. */
      accessToken: string;
      /** Digits: the id of the number that sends. */
      phoneNumberId: string;
      /** Verifies webhooks; without it all of them are rejected. */
      appSecret?: string | undefined;
      /** For the handshake of webhooks; without it, it fails. */
      verifyToken?: string | undefined;
      /** Of the Graph API, such as 'v23.0'. Default: that of the client. */
      version?: string | undefined;
      /** Another address, for tests and proxies. */
      baseUrl?: string | undefined;
    } | undefined;
    /** Green API. */
    green?: {
      /** Digits: the instance that sends. */
      instanceId: string | number;
      /** Of the instance. */
      token: string;
      /** Verifies webhooks; without it all of them are rejected. */
      webhookToken?: string | undefined;
      /** Another address, for tests and proxies. */
      baseUrl?: string | undefined;
      /** Another address for files. */
      mediaUrl?: string | undefined;
    } | undefined;
  } | undefined;
  /** Other services, for gateway.upstream(name, fn). */
  upstreams?: Record<string, {
    /** Default 'apiClient'. */
    preset?: PresetName | undefined;
    /** Time limit of one attempt. Default: the shorter one of the preset and the profile. */
    timeout?: D | undefined;
    /**
     * Whether an old response may be used, until it is older than retry.fallback.cacheTtl. Default:
     * true if retry.fallback.strategy lists 'cache'.
     */
    cache?: boolean | undefined;
    /** The response if there is no other. */
    default?: unknown;
    /** Overrides the preset and the section `retry`. */
    retry?: RetryFigures<D> | undefined;
    /** Overrides the preset and `retry.circuitBreaker`. */
    circuitBreaker?: BreakerFigures<D> | undefined;
  }> | undefined;
  /** Overrides all presets. */
  retry?: RetryFigures<D> & {
    /** Overrides the presets of all breakers. */
    circuitBreaker?: BreakerFigures<D> & {
      /** 'fleet': all hosts on one database. Default 'host'; 'instance' in the profile testing and
       * elsewhere than on Linux. */
      scope?: 'instance' | 'process' | 'host' | 'fleet' | undefined;
      /** Default 'default'. Gateways with different breakers need different namespaces. */
      namespace?: string | undefined;
      /**
       * When an opening in one process of a fleet opens the others; see the guide about sharing.
       */
      shareTrip?: 'any' | { processes: number } | undefined;
      /** Whether a `scope` that cannot be had is an error. Default false. */
      strictScope?: boolean | undefined;
    } | undefined;
    /** Which failures of upstreams are retried. */
    policy?: {
      /** Statuses such as 429 or '5xx'. Default: those that are transient. */
      retryableStatuses?: Array<number | StatusClass> | undefined;
      /** Another name of `retryableStatuses`. */
      retryableStatusCodes?: Array<number | StatusClass> | undefined;
      /** Kinds of errors, and codes such as ECONNRESET. */
      retryableErrors?: Array<ErrorKind | (string & {})> | undefined;
    } | undefined;
    /** What answers in the place of an upstream that fails. */
    fallback?: {
      /** False: no fallbacks, so failed calls reject; orders are still queued. Default true. */
      enabled?: boolean | undefined;
      /**
       * The strategies for all upstreams, in the order in which they are tried. Default: those that
       * an upstream has, in the order cache, default, degraded.
       */
      strategy?: FallbackStrategy | FallbackStrategy[] | undefined;
      /** The default of upstreams without one of their own. */
      default?: unknown;
      /** How long a customer waits before the order is queued, default 5000. */
      maxWait?: D | undefined;
      /** How long an upstream's old response may be used, default 3600000. */
      cacheTtl?: D | undefined;
      /** How many responses are kept for each upstream, default 1000. */
      cacheSize?: number | undefined;
    } | undefined;
  } | undefined;
  /** The worker that sends messages. */
  outbox?: {
    /** Of a message, 1 to 100, default 5. */
    maxAttempts?: number | undefined;
    /** Messages in flight at once, 1 to 10000, default 20. */
    concurrency?: number | undefined;
    /** Messages claimed at once, 1 to 1000, default 50. */
    batchSize?: number | undefined;
    /** Bytes of messages held at once, 1024 to 2^30, default 2^24 (16 MiB). */
    heldBytes?: number | undefined;
    /** A dead worker's messages return after this time, from 1000, default 30000. */
    leaseMs?: D | undefined;
    /** Between looks at the table, from 10, default 1000; new messages are also announced. */
    pollInterval?: D | undefined;
  } | undefined;
  /** Levels of the whole gateway. */
  degradation?: {
    /** Default 'services'. */
    scheme?: 'services' | 'levels' | undefined;
    /** Between checks, default 30000. */
    interval?: D | undefined;
    /** How long a better level must hold before it applies. Default: `interval`. */
    hysteresis?: D | undefined;
    /** The worst level at which each feature is on. */
    features?: Record<string, LevelName> | undefined;
  } | undefined;
  /** The health pages. */
  health?: {
    /** True: /health answers 503 when any check fails. Default false: when a critical one does. */
    strict?: boolean | undefined;
    /** Checks that are critical besides `database`, by name: 'midtrans', 'smtp', 'whatsapp',
     * 'worker', 'breakers', or one of your own. They do not change /health/ready. */
    critical?: string[] | undefined;
    /**
     * Who may see the health pages with details: everybody ('public'), callers with a token of
     * `admin.tokens` ('token', the default), or nobody ('off'). While there are no such tokens,
     * 'token' admits programs on this machine. Everybody may see /health, /health/live,
     * /health/ready and /api/health.
     */
    access?: 'public' | 'token' | 'off' | undefined;
  } | undefined;
  /** Who may see /metrics: as `health.access`. */
  metrics?: { access?: 'public' | 'token' | 'off' | undefined } | undefined;
  /** Jobs; each runs in one process of the fleet. */
  schedule?: {
    /** Retries dead letters whose upstream is back, with a fresh attempt count; every 5 minutes. */
    deadLetters?: Cron | undefined;
    /** Logs breakers that are not closed; every 2 minutes. */
    breakers?: Cron | undefined;
    /** Every minute. */
    health?: Cron | undefined;
    /** Every hour. */
    report?: Cron | undefined;
    /** Every day at 3:30. */
    cleanUp?: Cron | undefined;
    /** Asks Midtrans about orders that stayed pending or unknown; every 5 minutes. */
    reconcile?: Cron | undefined;
    /** Days that sent, dead and expired rows are kept, default 7. */
    retentionDays?: number | undefined;
    /** Of the audit log, 1 to 36500, default 365. */
    auditRetentionDays?: number | undefined;
    /** Default 'UTC'. */
    timezone?: string | undefined;
  } | undefined;
  /** Operators. */
  admin?: {
    /** 16 to 512 characters each; without any, nobody has access. */
    tokens?: Array<{
      /** Name for the audit log; what it allows, default 'read'; the token itself. */
      name: string; role?: 'monitor' | 'read' | 'operate' | undefined; token: string;
    }> | undefined;
    /** Where the command line finds the server. Default: host and port of `server`. */
    url?: string | undefined;
  } | undefined;
  /** JSON lines by pino. */
  logging?: {
    /** Default 'info', 'debug' in development, 'silent' in testing. */
    level?: 'trace' | 'debug' | 'info' | 'warn' | 'error' | 'fatal' | 'silent' | undefined;
    /** Default true. */
    console?: boolean | undefined;
    /** Also appended to this file. */
    file?: string | undefined;
  } | undefined;
}

/** An error in a configuration; `path` is as the user wrote it, such as `admin.tokens[0].token`. */
export interface ConfigFault {
  /** Where, as the user wrote it. */
  path: string;
  /** What is wrong, and what was expected; without secrets. */
  message: string;
}

/**
 * Reads and checks a configuration, or a TOML file of that name.
 * @returns the configuration: frozen, with all defaults, in our own names. Printed or as JSON, it
 *   shows no secrets
 * @throws SekeringError ERR_CONFIG with all `faults`, without any secret
 */
export function readConfig (
  config?: GatewayConfig | string, options?: { env?: Record<string, string | undefined> }
): Readonly<GatewayConfig<number>>;

/** Parts of a policy that are not in its configuration. */
export interface PolicyParts {
  /** The values of `env:NAME`, default process.env. */
  env?: Record<string, string | undefined> | undefined;
  /**
   * The name of the breaker, default 'policy'. If the configuration has a section
   * `upstreams.<name>`, it applies, too.
   */
  name?: string | undefined;
  /** The answer of the strategy 'default'. Default: `default` of the configuration. */
  default?: unknown;
  /** The strategy 'degraded': called with the call's arguments and the error. */
  degraded?: ((...argsAndError: any[]) => unknown) | undefined;
  /** Called first; if it returns undefined, `retry.policy` decides whether to retry. */
  predicate?: ((error: any, attempt?: number) => boolean | undefined) | undefined;
}

/**
 * Makes a policy from the section `retry` of a configuration or TOML file: retries, breaker and
 * fallback, on top of the preset `apiClient`. No gateway is needed. The breaker belongs to this
 * policy only, unless the configuration sets a `scope` ('fleet' needs a gateway, so here it means
 * 'host'). Old answers of a wrapped function are stored under its name and the arguments of the
 * call.
 * @throws SekeringError ERR_CONFIG; ERR_INVALID_OPTION, also if the configuration lists a strategy
 *   that needs `default` or `degraded`, or a scope that needs `name`
 */
export function policyFromConfig (
  config: GatewayConfig | string, parts?: PolicyParts): Policy<any>;
