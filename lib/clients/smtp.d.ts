import { EventEmitter } from 'node:events';
import CircuitBreaker = require('../primitives/breaker');
import retry = require('../primitives/retry');
import { SekeringError } from '../base/errors';

export type SmtpAddress = string | { name?: string | undefined; address: string };
export type SmtpAddresses = SmtpAddress | SmtpAddress[];

/** A message in nodemailer's form; what is not named here is handed on as it is. */
export interface SmtpMail {
  from?: SmtpAddress | undefined;
  to?: SmtpAddresses | undefined;
  cc?: SmtpAddresses | undefined;
  bcc?: SmtpAddresses | undefined;
  sender?: SmtpAddress | undefined;
  replyTo?: SmtpAddresses | undefined;
  subject?: string | undefined;
  /** Bodies may be text, Buffers or { path }, but no streams: those cannot be sent twice. */
  text?: unknown;
  html?: unknown;
  attachments?: unknown[] | undefined;
  headers?: Record<string, unknown> | Array<{ key: string; value: unknown }> | undefined;
  /** Made once for all attempts unless given. */
  messageId?: string | undefined;
  date?: Date | string | undefined;
  /** In place of the addresses in the headers. */
  envelope?: {
    from?: SmtpAddress | false | undefined;
    to?: SmtpAddresses | undefined;
    cc?: SmtpAddresses | undefined;
    bcc?: SmtpAddresses | undefined;
  } | undefined;
  [option: string]: unknown;
}

export interface SmtpRecipient {
  address: string;
  /** deferred: not yet taken, and worth another attempt. */
  status: 'accepted' | 'rejected' | 'deferred';
  responseCode?: number | undefined;
  response?: string | undefined;
}

export interface SmtpResult {
  messageId: string;
  accepted: string[];
  rejected: string[];
  deferred: string[];
  recipients: SmtpRecipient[];
  attempts: number;
  /** Whether it may have arrived twice: an attempt ended in silence after the last line. */
  ambiguous: boolean;
  /** The server's last words. */
  response: string | undefined;
}

export type SmtpReason = 'quota' | 'rate' | 'credentials' | 'certificate' | 'tls' | 'refused' |
  'configuration';

export interface SmtpVerdict {
  /**
   * retry: it may pass. permanent: it fails again. pause: the account has sent as much as it may,
   * and all messages wait. ours: credentials, certificate, no TLS, a host or sender that is
   * refused, settings.
   */
  kind: 'retry' | 'permanent' | 'pause' | 'ours';
  /** Of pause and ours; of a pause that was begun by hand, what it was begun with. */
  reason: SmtpReason | (string & {}) | undefined;
  /** Whether the message may be sent again, be it after a repair. */
  retryable: boolean;
  /** Whether it counts against the server. */
  trips: boolean;
  /** Whether it pauses the client. */
  pauses: boolean;
  alert: boolean;
  responseCode: number | undefined;
  /** As in '5.4.5' (RFC 3463), if the server named one. */
  enhancedCode: string | undefined;
}

/** Why a client sends nothing for now. */
export interface SmtpPause {
  reason: SmtpReason | (string & {});
  /** As Date.now() counts. */
  since: number;
  error: SmtpError | undefined;
}

/** Judges an error of nodemailer's, or of a breaker or limit around it. */
export function classifySmtpError (error: unknown): SmtpVerdict;

/**
 * Why a message was not sent; `code` is nodemailer's, the breaker's or the limit's,
 * ERR_SMTP_TLS_REQUIRED (`requireTls`) or ERR_SMTP_PAUSED (nobody was asked).
 */
export class SmtpError extends SekeringError {
  constructor (cause: unknown, details?: {
    messageId?: string | undefined;
    attempts?: number | undefined;
    ambiguous?: boolean | undefined;
    rejected?: SmtpRecipient[] | undefined;
    deferred?: SmtpRecipient[] | undefined;
  });
  readonly kind: SmtpVerdict['kind'];
  readonly reason: SmtpVerdict['reason'];
  readonly retryable: boolean;
  /** Whether it may have been delivered all the same. */
  readonly ambiguous: boolean;
  readonly responseCode: number | undefined;
  readonly enhancedCode: string | undefined;
  readonly command: string | undefined;
  readonly messageId: string | undefined;
  readonly attempts: number;
  readonly rejected: SmtpRecipient[];
  readonly deferred: SmtpRecipient[];
  readonly verdict: SmtpVerdict;
  /** Whether retry() stops at it. */
  readonly bail: boolean;
  toJSON (): object;
}

/** What nodemailer.createTransport() makes, as far as it is needed. */
export interface SmtpTransport {
  sendMail (message: any): Promise<any>;
  verify? (): Promise<any>;
  close? (): unknown;
}

export interface SmtpClientOptions {
  /** One that nodemailer.createTransport() made; it stays the caller's. */
  transport?: SmtpTransport | undefined;
  /** Otherwise what nodemailer.createTransport() takes; needs the package nodemailer. */
  smtp?: object | string | undefined;
  /**
   * Whether nothing, and no password, is sent to a server without TLS (STARTTLS). Default true,
   * unless the host is this machine (localhost, 127.0.0.0/8, ::1); nodemailer's own requireTLS in
   * `smtp` counts as well. It says nothing about `secure`, which begins with TLS, and cannot be
   * given beside a transport. nodemailer's ignoreTLS and opportunisticTLS need `false` here.
   */
  requireTls?: boolean | undefined;
  /** Sender of messages that name none. */
  from?: SmtpAddress | undefined;
  /** Laid under every message. */
  defaults?: SmtpMail | undefined;
  /** Mails on their way at once, default 5. Waiting does not count towards `timeout`. */
  maxConnections?: number | undefined;
  /** Mails that may wait, default 1000. */
  maxQueue?: number | undefined;
  /** ms that a mail may wait, default Infinity. */
  queueTimeout?: number | undefined;
  /** ms of one attempt, default 5000. */
  timeout?: number | undefined;
  /** Over retryPresets.email; false for none. */
  retry?: Omit<retry.Options, 'signal'> | false | undefined;
  /** Over presets.smtp and a volumeThreshold of 5; false for none. */
  breaker?: CircuitBreaker<any, any> | CircuitBreaker.Options | false | undefined;
  /** Whether silence after the last line is followed by another attempt, default true. */
  resendAmbiguous?: boolean | undefined;
  /** ms after which a pause for a quota that is used up ends by itself, default 3600000. */
  resumeAfter?: number | undefined;
}

export interface SmtpClientEvents {
  /** Another attempt follows, in `delay` ms. */
  retry: [{ messageId: string; attempt: number; error: SmtpError; delay: number }];
  /**
   * No message gets through: until somebody mends something (the breaker has opened), or, of the
   * kinds quota and rate, for now (the client is paused). What goes on is told again after an hour.
   */
  alert: [{ kind: SmtpReason; error: SmtpError }];
  paused: [SmtpPause];
  resumed: [{ reason: string }];
}

export class SmtpClient extends EventEmitter {
  /** @throws ERR_INVALID_OPTION, ERR_MISSING_PEER */
  constructor (options: SmtpClientOptions);
  readonly breaker: CircuitBreaker<any, any>;
  /** Mails on their way. */
  readonly active: number;
  /** Mails that wait for their turn. */
  readonly queued: number;
  /** Why nothing is sent for now; null when mails are sent. */
  readonly paused: SmtpPause | null;
  /** Sends nothing until resume(). Mails that wait are rejected, and can be sent again later. */
  pause (reason?: string): void;
  /** Goes on sending. Whether it was paused. */
  resume (): boolean;
  /**
   * Sends a message, and again what the server could not take at once. Resolves when at least one
   * recipient's server took it; rejects with an SmtpError when none did, with ERR_INVALID_INPUT and
   * `faults` before anything is sent.
   */
  send (message: SmtpMail, options?: { signal?: AbortSignal | undefined }): Promise<SmtpResult>;
  /** Whether a message could be sent, as far as that is known before. @throws ERR_INVALID_INPUT */
  check (message: SmtpMail): void;
  /** Connects, signs in and leaves; passes the breaker by. */
  verify (options?: { timeout?: number | undefined }): Promise<true>;
  close (): void;
  toJSON (): { name: string; active: number; queued: number };

  on<E extends keyof SmtpClientEvents> (
    event: E, listener: (...args: SmtpClientEvents[E]) => void): this;
  once<E extends keyof SmtpClientEvents> (
    event: E, listener: (...args: SmtpClientEvents[E]) => void): this;
}

export {};
