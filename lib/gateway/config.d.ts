import { BackoffJitter, BackoffStrategy } from '../primitives/backoff';
import { StatusClass } from '../primitives/classify';
import { LevelName } from './degradation';
import { PresetName, ProfileName } from '../primitives/presets';

/** Override the presets. Times are ms. */
export interface RetryFigures {
  retries?: number | undefined;
  strategy?: BackoffStrategy | undefined;
  factor?: number | undefined;
  minTimeout?: number | undefined;
  maxTimeout?: number | undefined;
  randomize?: boolean | undefined;
  jitter?: BackoffJitter | undefined;
}

/** Override the presets, as the options of a CircuitBreaker. Times are ms. */
export interface BreakerFigures {
  errorThresholdPercentage?: number | undefined;
  volumeThreshold?: number | undefined;
  consecutiveFailures?: number | undefined;
  failureCount?: number | undefined;
  slidingWindowSize?: number | undefined;
  minimumCalls?: number | undefined;
  slowCallDuration?: number | undefined;
  slowCallThresholdPercentage?: number | undefined;
  resetTimeout?: number | {
    initial: number; factor?: number | undefined; max?: number | undefined;
  } | undefined;
  halfOpenProbes?: number | undefined;
  successThreshold?: number | undefined;
  rampUp?: number | undefined;
  rollingCountTimeout?: number | undefined;
  rollingCountBuckets?: number | undefined;
}

interface ClientSection {
  /** Time limit of one attempt in ms. Default: from the profile, or from the preset. */
  timeout?: number | undefined;
  circuitBreaker?: BreakerFigures | undefined;
}

interface ChannelSection extends ClientSection {
  /** Messages that are sent at the same time, 1 to 1000, default 5. */
  concurrency?: number | undefined;
}

/**
 * A cron pattern of five or six fields, or false for never.
 */
export type Cron = string | false;

/**
 * The configuration of a gateway. In TOML, names are written with underscores. A text `env:NAME`
 * stands for the environment variable NAME. Times are ms.
 */
export interface GatewayConfig {
  /** Default 'production'. */
  profile?: ProfileName | undefined;
  server?: {
    /** Default '127.0.0.1'. */
    host?: string | undefined;
    /** Default 3000; 0: any free port. */
    port?: number | string | undefined;
    /** Bytes of a request's body, 1024 to 16777216, default 65536. */
    bodyLimit?: number | undefined;
    /**
     * The proxies whose X-Forwarded-For is trusted, default false (none). Either their number, 0 to
     * 100, or their addresses as a list or comma-separated text: networks (10.0.0.0/8), loopback,
     * linklocal, uniquelocal. `true` is rejected: clients could choose their address.
     */
    trustProxy?: false | number | string | string[] | undefined;
    /** Clients that may create orders and send messages. Without tokens, nobody may. */
    tokens?: Array<{ name: string; token: string }> | undefined;
    /** ms for requests and messages in progress to finish when it stops, default 10000. */
    shutdownTimeout?: number | undefined;
  } | undefined;
  /** One of url, directory (the default, 'sekering-data') and memory. */
  store?: {
    url?: string | undefined;
    directory?: string | undefined;
    memory?: boolean | undefined;
    schema?: string | undefined;
    connections?: number | undefined;
    timeout?: number | undefined;
  } | undefined;
  midtrans?: ClientSection & {
    serverKey: string;
    production?: boolean | undefined;
    /** Other addresses, for tests and proxies. */
    snapUrl?: string | undefined;
    coreUrl?: string | undefined;
    connections?: number | undefined;
    /** A regular expression that matches the order ids of the shop. */
    orderIdPattern?: string | undefined;
  } | undefined;
  /** Either host or url. */
  smtp?: ChannelSection & {
    host?: string | undefined;
    port?: number | string | undefined;
    secure?: boolean | undefined;
    /** Never use TLS. For other machines than this one it also needs `requireTls: false`. */
    ignoreTls?: boolean | undefined;
    /**
     * Send no passwords and no mail without TLS. Default true, unless the host is this machine
     * (localhost, 127.0.0.0/8, ::1). With `secure` the connection begins with TLS in any case.
     */
    requireTls?: boolean | undefined;
    user?: string | undefined;
    password?: string | undefined;
    url?: string | undefined;
    from: string;
  } | undefined;
  /** Either cloud or green. */
  whatsapp?: ChannelSection & {
    cloud?: {
      accessToken: string;
      phoneNumberId: string;
      appSecret?: string | undefined;
      verifyToken?: string | undefined;
      version?: string | undefined;
      baseUrl?: string | undefined;
    } | undefined;
    green?: {
      instanceId: string | number; token: string; baseUrl?: string | undefined;
    } | undefined;
  } | undefined;
  /** Other services, for gateway.upstream(name, fn). */
  upstreams?: Record<string, {
    /** Default 'apiClient'. */
    preset?: PresetName | undefined;
    timeout?: number | undefined;
    /** Use an old answer as a fallback, for retry.fallback.cacheTtl; default false. */
    cache?: boolean | undefined;
    /** The answer when all else fails. */
    default?: unknown;
    retry?: RetryFigures | undefined;
    circuitBreaker?: BreakerFigures | undefined;
  }> | undefined;
  /** Settings for all services, on top of their presets. */
  retry?: RetryFigures & {
    circuitBreaker?: BreakerFigures & {
      /** 'fleet': all hosts with the same database. Default 'host'; 'instance' in the profile
       * testing, and on other systems than Linux. */
      scope?: 'instance' | 'process' | 'host' | 'fleet' | undefined;
      /** Default 'default'. Breakers with different settings are never shared. */
      namespace?: string | undefined;
      shareTrip?: 'any' | { processes: number } | undefined;
    } | undefined;
    /** Which failures of upstreams are retried. */
    policy?: {
      retryableStatuses?: Array<number | StatusClass> | undefined;
      retryableErrors?: string[] | undefined;
    } | undefined;
    fallback?: {
      /** ms that a customer waits before the order is queued, default 5000. */
      maxWait?: number | undefined;
      /** ms that an old answer of an upstream may be used, default 3600000. */
      cacheTtl?: number | undefined;
      /** Answers kept for each upstream, default 1000. */
      cacheSize?: number | undefined;
    } | undefined;
  } | undefined;
  outbox?: {
    /** Attempts for a message, 1 to 100, default 5. */
    maxAttempts?: number | undefined;
    concurrency?: number | undefined;
    batchSize?: number | undefined;
    leaseMs?: number | undefined;
    pollInterval?: number | undefined;
  } | undefined;
  degradation?: {
    /** Default 'services'. */
    scheme?: 'services' | 'levels' | undefined;
    /** ms between looks, default 30000. */
    interval?: number | undefined;
    hysteresis?: number | undefined;
    /** The worst level at which each feature is still on. */
    features?: Record<string, LevelName> | undefined;
  } | undefined;
  schedule?: {
    /** Retries dead letters when their upstream is back; default: every 5 minutes. */
    deadLetters?: Cron | undefined;
    /** Logs breakers that are not closed; default: every 2 minutes. */
    breakers?: Cron | undefined;
    /** Default: every minute. */
    health?: Cron | undefined;
    /** Default: every hour. */
    report?: Cron | undefined;
    /** Default: every day at 3:30. */
    cleanUp?: Cron | undefined;
    /** Asks Midtrans about orders without news; default: every 5 minutes. */
    reconcile?: Cron | undefined;
    /** How long sent, dead and expired rows are kept, default 7. */
    retentionDays?: number | undefined;
    /** How long the audit log is kept, 1 to 36500, default 365. */
    auditRetentionDays?: number | undefined;
    /** Default 'UTC'. */
    timezone?: string | undefined;
  } | undefined;
  admin?: {
    /** 16 to 512 characters each. Without tokens, nobody may use it. */
    tokens?: Array<{
      name: string; role?: 'read' | 'operate' | undefined; token: string;
    }> | undefined;
    /** The address of the server, for the command line. Default: host and port of `server`. */
    url?: string | undefined;
  } | undefined;
  logging?: {
    /** Default 'info', 'debug' in development, 'silent' in testing. */
    level?: 'trace' | 'debug' | 'info' | 'warn' | 'error' | 'fatal' | 'silent' | undefined;
    /** Default true. */
    console?: boolean | undefined;
    /** Also appended to this file. */
    file?: string | undefined;
  } | undefined;
}

/** A mistake in a configuration. `path` is as the user writes it: `admin.tokens[0].token`. */
export interface ConfigFault {
  path: string;
  message: string;
}

/**
 * Reads and checks a configuration, or the TOML file with this path.
 * @returns the frozen configuration with all defaults; printing it shows no secret
 * @throws SekeringError ERR_CONFIG with `faults`: all mistakes, without values
 */
export function readConfig (
  config?: GatewayConfig | string, options?: { env?: Record<string, string | undefined> }
): Readonly<GatewayConfig>;
