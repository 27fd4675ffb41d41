export { useVirtualClock } from './virtual-clock';
export type { VirtualClock } from './virtual-clock';

export {
  MidtransFake, MidtransFakeOptions, MidtransFault, MidtransNotificationOptions, MidtransOrder,
  MidtransTransaction, startMidtransFake
} from './midtrans-fake';
export { TcpFaults, TcpProxy, startTcpProxy } from './tcp-proxy';

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
