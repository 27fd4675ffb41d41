export { useVirtualClock } from './virtual-clock';
export type { VirtualClock } from './virtual-clock';

export interface MidtransFault {
  /**
   * hang: never answers. reset: cuts the connection before anything is made. error: a JSON error.
   * html: an error page of a proxy in between. slow: makes the order, late. drop: makes the order,
   * then cuts without an answer.
   */
  kind: 'hang' | 'reset' | 'error' | 'html' | 'slow' | 'drop';
  /** Of error (500) and html (502). */
  status?: number | undefined;
  /** Of slow, ms; default 3000. */
  delayMs?: number | undefined;
  /** Strikes each n-th request only, default 1. */
  every?: number | undefined;
}

export interface MidtransOrder {
  orderId: string;
  grossAmount: number;
  token: string;
  redirectUrl: string;
  /** When it was made, ms as Date.now() counts. */
  at: number;
  body: any;
}

export interface MidtransFake {
  readonly url: string;
  readonly fault: MidtransFault['kind'] | null;
  /** Every order made, by order_id, oldest first. */
  readonly orders: Map<string, MidtransOrder>;
  readonly counts: Record<'requests' | 'created' | 'refused' | 'unauthorized' | 'faulted', number>;
  /** Sets what goes wrong from now on; null mends everything. */
  set (fault: MidtransFault | MidtransFault['kind'] | null): void;
  close (): Promise<void>;
}

export interface MidtransFakeOptions {
  /** 0 (default) takes a free one. */
  port?: number | undefined;
  /** Default '127.0.0.1'. */
  host?: string | undefined;
  /** Default 'SB-Mid-server-fake'. */
  serverKey?: string | undefined;
  fault?: MidtransFault | MidtransFault['kind'] | null | undefined;
  /** How long it thinks, ms; default 0. */
  latencyMs?: number | [min: number, max: number] | undefined;
  ordersMax?: number | undefined;
}

/** Starts a Midtrans Snap server on loopback. */
export function startMidtransFake (options?: MidtransFakeOptions): Promise<MidtransFake>;

export interface SmtpFault {
  stage: 'connect' | 'auth' | 'mail' | 'rcpt' | 'data';
  /** reply (default): an error code. drop, at data only: takes the message in, then cuts. */
  kind?: 'reply' | 'hang' | 'reset' | 'drop' | undefined;
  /** Of a reply, 400 to 599. */
  code?: number | undefined;
  message?: string | undefined;
  /** Strikes each n-th time only, default 1. */
  every?: number | undefined;
  /** Strikes an envelope the first time only, as greylisting does. */
  once?: boolean | undefined;
  /** Strikes these recipients only, at rcpt. */
  recipients?: string[] | undefined;
}

export interface SmtpMessage {
  from: string;
  to: string[];
  messageId: string | undefined;
  subject: string | undefined;
  /** When it came, ms as Date.now() counts. */
  at: number;
  raw: string;
}

export interface SmtpFake {
  readonly host: string;
  readonly port: number;
  readonly fault: SmtpFault['stage'] | null;
  /** What was taken in, oldest first. */
  readonly messages: SmtpMessage[];
  readonly counts: Record<'connections' | 'accepted' | 'faulted', number>;
  /** Sets what goes wrong from now on; null mends everything. */
  set (fault: SmtpFault | SmtpFault[] | null): void;
  close (): Promise<void>;
}

export interface SmtpFakeOptions {
  port?: number | undefined;
  host?: string | undefined;
  /** Required of clients when given. */
  auth?: { user: string; pass: string } | undefined;
  fault?: SmtpFault | SmtpFault[] | null | undefined;
  /** Default false. Its certificate is signed by nobody. */
  tls?: false | 'starttls' | 'implicit' | undefined;
  latencyMs?: number | undefined;
  messagesMax?: number | undefined;
}

/** Starts an SMTP server on loopback. Needs the package smtp-server. */
export function startSmtpFake (options?: SmtpFakeOptions): Promise<SmtpFake>;
