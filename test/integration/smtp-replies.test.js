'use strict';

// What the replies of mail servers mean: for the mail, for the breaker, for the channel, for those
// on duty. A server gives each of them at its stage.

const http = require('node:http');
const net = require('node:net');

const { SmtpClient } = require('../../lib/clients/smtp');
const { createGateway } = require('../../lib/gateway');
const { useVirtualClock } = require('../../lib/testing');
const { configFor, startFakes } = require('../support/gateway-helpers');
const { outboxOf, until } = require('../support/outbox-helpers');
const { describeEngines } = require('../support/postgres');
const { AUTH, LETTER, closeAll, keep, start } = require('../support/smtp-script');

afterEach(closeAll);

function clientOf ({ host, port }, { auth = AUTH, ...options } = {}) {
  const client = keep(new SmtpClient({
    smtp: { host, port, auth }, retry: false, timeout: 20_000, ...options
  }));
  client.alerts = [];
  client.on('alert', alert => client.alerts.push(alert));
  return client;
}

/** How many mails it was asked to take. */
const mailsOf = ({ lines }) => lines.filter(line => line.startsWith('MAIL ')).length;

const QUOTA = ['pause', 'quota'];
const RATE = ['pause', 'rate'];
const REFUSED = ['ours', 'refused'];
const CREDENTIALS = ['ours', 'credentials'];
const DEAD = ['permanent'];
const LATER = ['retry'];

// The stage, the reply, and what it means.
const TABLE = [
  ['body', '550 5.4.5 Daily user sending limit exceeded. For more information go to x', QUOTA],
  ['MAIL', '550 5.4.5 Daily user sending quota exceeded', QUOTA],
  ['RCPT', '550-5.4.5 Daily user sending limit exceeded.\r\n550 5.4.5 gsmtp', QUOTA],
  ['body', '550 5.7.1 Daily SMTP relay limit exceeded for customer', QUOTA],
  ['body', '554 5.2.0 STOREDRV.Submission.Exception:SubmissionQuotaExceededException', QUOTA],
  ['body', '550 5.1.90 Your message can\'t be sent because you\'ve reached your limit', QUOTA],
  ['MAIL', '552 5.2.3 Quota', QUOTA],
  ['DATA', '552 5.2.3 Quota', QUOTA],
  ['MAIL', '454 Throttling failure: Daily message quota exceeded.', QUOTA],
  ['AUTH', '451 Authentication failed: Maximum credits exceeded', QUOTA],
  ['body', '421 Domain shop.example is not allowed to send: recipient limit exceeded', QUOTA],
  ['body', '550 Domain shop.example has exceeded the max emails per hour (125/100)', QUOTA],
  ['MAIL', '550 You have exceeded your daily email sending limit', QUOTA],
  ['body', '454 Throttling failure: Maximum sending rate exceeded.', RATE],
  ['MAIL', '454 4.7.0 Try again later', RATE],
  ['body', '454 4.7.0 Try again later', RATE],
  ['body', '432 4.3.2 STOREDRV.ClientSubmit; sender thread limit exceeded', RATE],
  ['greeting', '421 4.7.0 Too many concurrent SMTP connections', RATE],
  ['body', '421 4.7.28 Gmail has detected an unusual rate of mail', RATE],

  ['greeting', '554 go away', REFUSED],
  ['greeting', '554 5.7.1 Client host [192.0.2.1] blocked using bl.example', REFUSED],
  ['greeting', '421 4.7.0 Try again later, closing connection', REFUSED],
  ['greeting', '421 4.3.2 Service not available', REFUSED],
  ['EHLO', '421 Not now', REFUSED],
  ['MAIL', '554 5.7.1 Client host [192.0.2.1] blocked using bl.example', REFUSED],
  ['MAIL', '554 Refused', REFUSED],
  ['MAIL', '421 Not from there', REFUSED],
  ['MAIL', '550 5.7.1 Relaying denied', REFUSED],
  ['MAIL', '550 5.7.26 Unauthenticated email from shop.example is not accepted', REFUSED],
  ['body', '550-5.7.26 This mail has been blocked because the sender is\r\n' +
    '550 5.7.26 unauthenticated.', REFUSED],
  ['RCPT', '554 5.7.1 <ann@example.com>: Relay access denied', REFUSED],
  ['RCPT', '554 5.7.1 <unknown[192.0.2.1]>: Client host rejected: Access denied', REFUSED],
  ['RCPT', '550 5.7.1 Unable to relay', REFUSED],
  ['body', '554 Message rejected: Email address is not verified.', REFUSED],
  ['body', '550 The from address does not match a verified Sender Identity', REFUSED],
  ['body', '554 5.2.252 SendAsDenied; x@y not allowed to send as shop@example.com', REFUSED],

  ['AUTH', '535 5.7.8 Username and password not accepted', CREDENTIALS],
  ['AUTH', '534 5.7.9 Application-specific password required', CREDENTIALS],
  ['AUTH', '530 5.7.0 Sign in', CREDENTIALS],
  ['MAIL', '530 5.7.0 Authentication required', CREDENTIALS],
  ['AUTH', '538 5.7.11 Encryption required', CREDENTIALS],
  ['AUTH', '454 4.7.0 Temporary authentication failure', LATER],
  ['STARTTLS', '454 4.7.0 TLS not available', LATER, { requireTls: true }],

  ['RCPT', '550 5.1.1 No such user', DEAD],
  ['RCPT', '550 5.2.1 The email account that you tried to reach is disabled', DEAD],
  ['RCPT', '553 5.1.3 Bad recipient address syntax', DEAD],
  ['RCPT', '552 5.2.2 Mailbox full, daily quota exceeded', DEAD],
  ['body', '552 5.2.2 The email account that you tried to reach is over quota', DEAD],
  ['RCPT', '550 5.7.1 Message refused for this recipient', DEAD],
  ['body', '550 5.7.1 Content refused', DEAD],
  ['RCPT', '550 5.7.1 Refused: daily limit for recipient exceeded', DEAD],
  ['RCPT', '550 5.7.1 The user has exceeded the hourly quota of received mails', DEAD],
  ['RCPT', '550 5.7.1 The monthly limit of this mailbox has been reached', DEAD],
  ['RCPT', '550 5.4.5 Mail system congestion', DEAD],
  ['RCPT', '550 5.1.8 The domain of the recipient does not exist', DEAD],
  ['body', '552 Recipient quota exceeded', DEAD],
  ['body', '550 5.2.0 Recipient quota exceeded', DEAD],
  ['MAIL', '554 5.6.0 Message malformed', DEAD],
  ['RCPT', '550 <daily.sending.limit.exceeded@example.com>: unknown', DEAD],
  ['body', '554 5.6.0 Refused', DEAD],
  ['body', '552 5.2.3 Your message exceeded Google\'s message size limits', DEAD],
  ['MAIL', '552 5.3.4 Message size exceeds fixed limit', DEAD],
  ['MAIL', '553 Not an address', DEAD],

  ['RCPT', '450 4.2.1 The user you are trying to contact is receiving mail too quickly', LATER],
  ['RCPT', '451 4.7.1 Greylisted, come back in 5 minutes', LATER],
  ['RCPT', '452 4.5.3 Too many recipients', LATER],
  ['RCPT', '454 4.7.0 Greylisted, try again', LATER],
  ['RCPT', '450 4.7.1 Recipient daily message limit exceeded', LATER],
  ['body', '432 4.3.2 STOREDRV.Deliver; recipient thread limit exceeded', LATER],
  ['body', '450 4.7.0 Mail throttled by recipient server', LATER],
  ['MAIL', '421 4.4.2 Timeout, closing connection', LATER],
  ['body', '451 4.3.0 Local error', LATER],
];

// What the big relays really say.
const WORDINGS = [
  // Gmail
  ['body', '550-5.4.5 Daily user sending limit exceeded. For more information on ' +
    'Gmail\r\n550-5.4.5 sending limits go to\r\n550 5.4.5  https://relay.example/why ' +
    'gsmtp', QUOTA],
  ['MAIL', '452 4.5.3 Your message has too many recipients. For more information regarding ' +
    'Google\'s sending limits, please visit https://relay.example/why - gsmtp', LATER],
  ['RCPT', '452-4.2.2 The recipient\'s inbox is out of storage space. Please direct the ' +
    'recipient to\r\n452 4.2.2 https://relay.example/why - gsmtp', LATER],
  ['RCPT', '550-5.1.1 The email account that you tried to reach does not exist. Please ' +
    'try\r\n550-5.1.1 double-checking the recipient\'s email address for typos ' +
    'or\r\n550 5.1.1 unnecessary spaces. - gsmtp', DEAD],
  ['RCPT', '450-4.2.1 The user you are trying to contact is receiving mail at a rate ' +
    'that\r\n450 4.2.1 prevents additional messages from being delivered.', LATER],
  ['body', '421-4.7.0 [192.0.2.1 15] Our system has detected that this message is suspicious ' +
    'due to the nature of the content\r\n421 4.7.0 review', LATER],
  ['body', '421-4.7.28 Our system has detected an unusual rate of unsolicited mail originating ' +
    'from your IP address. To protect our users from spam, mail sent from your ' +
    'IP\r\n421 4.7.28 address has been temporarily rate limited.', RATE],
  ['body', '550-5.7.1 [192.0.2.1] Our system has detected that this message is\r\n550-5.7.1 ' +
    'likely unsolicited mail. To reduce the amount of spam sent to Gmail,\r\n550 5.7.1 ' +
    'this message has been blocked.', DEAD],
  ['body', '552-5.7.0 This message was blocked because its content presents a potential\r\n552 ' +
    '5.7.0 security issue.', DEAD],
  ['AUTH', '454 4.7.0 Too many login attempts, please try again later. - gsmtp', LATER],
  ['AUTH', '535-5.7.8 Username and Password not accepted. For more information, go to\r\n535 ' +
    '5.7.8  https://relay.example/why - gsmtp', CREDENTIALS],
  ['AUTH', '534-5.7.9 Application-specific password required. For more information, go ' +
    'to\r\n534 5.7.9  https://relay.example/why - gsmtp', CREDENTIALS],
  ['MAIL', '550-5.7.1 Invalid credentials for relay [192.0.2.1]. The IP address you\'ve\r\n550 ' +
    '5.7.1 registered in your G Suite SMTP Relay service doesn\'t match', REFUSED],
  ['body', '550 5.7.1 Daily SMTP relay limit exceeded for user. For more information on SMTP ' +
    'relay sending limits', QUOTA],
  ['MAIL', '421 4.7.0 Try again later, closing connection. (EHLO) - gsmtp', REFUSED],
  ['EHLO', '421 4.7.0 Try again later, closing connection. (EHLO) - gsmtp', REFUSED],
  ['MAIL', '451 4.3.0 Mail server temporarily rejected message. - gsmtp', LATER],
  ['MAIL', '550-5.4.6 Message exceeded maximum hop count\r\n550 5.4.6 x', DEAD],
  // Office 365
  ['body', '554 5.2.0 STOREDRV.Submission.Exception:SubmissionQuotaExceededException; Failed ' +
    'to process message due to a permanent exception with message The message can\'t ' +
    'be submitted because the sender\'s submission quota was exceeded.', QUOTA],
  ['body', '550 5.7.60 SMTP; Client does not have permissions to send as this sender', REFUSED],
  ['AUTH', '535 5.7.139 Authentication unsuccessful, SmtpClientAuthentication is disabled for ' +
    'the Tenant. Visit https://relay.example/why', CREDENTIALS],
  ['AUTH', '535 5.7.3 Authentication unsuccessful [AM0PR.prod.outlook.com]', CREDENTIALS],
  ['MAIL', '530 5.7.57 Client not authenticated to send mail. Error: 535 5.7.3 Authentication ' +
    'unsuccessful', CREDENTIALS],
  ['body', '432 4.3.2 Concurrent connections limit exceeded. Visit https://relay.example/why ' +
    'for more information.', RATE],
  ['MAIL', '421 4.3.2 The maximum number of concurrent connections has exceeded a limit, ' +
    'closing transmission channel', RATE],
  ['MAIL', '451 4.7.500 Server busy. Please try again later from [192.0.2.1].', LATER],
  ['body', '550 5.1.90 Your message can\'t be sent because you\'ve reached your daily limit ' +
    'for message recipients', QUOTA],
  ['MAIL', '550 5.1.8 Access denied, bad outbound sender AS(42004)', REFUSED],
  ['RCPT', '550 5.7.64 TenantAttribution; Relay Access Denied', REFUSED],
  ['RCPT', '550 5.1.10 RESOLVER.ADR.RecipientNotFound; Recipient not found by SMTP address ' +
    'lookup', DEAD],
  ['RCPT', '550 5.4.1 Recipient address rejected: Access denied. AS(201806281)', DEAD],
  ['RCPT', '550 5.7.1 Service unavailable, Client host [192.0.2.1] blocked using Spamhaus. To ' +
    'request removal from this list see https://relay.example/why (AS16012612)', REFUSED],
  ['RCPT', '451 4.7.652 The mail server [192.0.2.1] has exceeded the maximum number of ' +
    'connections.', RATE],
  ['body', '550 5.2.3 RESOLVER.RST.RecipSizeLimit; message too large for this recipient', DEAD],
  ['MAIL', '550 5.7.708 Service unavailable. Access denied, traffic not accepted from ' +
    'this IP', REFUSED],
  ['body', '554 5.4.14 Hop count exceeded - possible mail loop', DEAD],
  ['body', '550 5.7.520 Access denied, Your organization does not allow external ' +
    'forwarding.', DEAD],
  // Amazon SES
  ['body', '454 Throttling failure: Daily message quota exceeded.', QUOTA],
  ['body', '454 Throttling failure: Maximum sending rate exceeded.', RATE],
  ['AUTH', '535 Authentication Credentials Invalid', CREDENTIALS],
  ['MAIL', '530 Authentication required', CREDENTIALS],
  ['body', '554 Message rejected: Email address is not verified. The following identities ' +
    'failed the check in region US-EAST-1: shop@example.com', REFUSED],
  ['body', '554 Access denied: User `arn:aws:iam::123456789012:user/x\' is not authorized to ' +
    'perform `ses:SendRawEmail\' on resource `arn:aws:ses:us-east-1\'', REFUSED],
  ['body', '554 Message rejected: Sending suspended for this account. For more information, ' +
    'please check the inbox of the email address associated with your AWS account.', REFUSED],
  ['body', '554 Message rejected: Sending paused for this account.', REFUSED],
  ['body', '554 Transaction failed: Invalid domain name: \'x\'.', DEAD],
  ['body', '554 Transaction failed: Missing final \'@domain\'.', DEAD],
  ['body', '554 Transaction failed: Duplicate header \'From\'.', DEAD],
  ['EHLO', '421 Too many concurrent SMTP connections', RATE],
  ['MAIL', '451 Timeout waiting for data from client.', LATER],
  ['body', '554 Message rejected: Address is on the suppression list for your account', DEAD],
  ['body', '454 Temporary service failure', LATER],
  // SendGrid
  ['AUTH', '535 Authentication failed: The provided authorization grant is invalid, expired, ' +
    'or revoked', CREDENTIALS],
  ['AUTH', '451 Authentication failed: Maximum credits exceeded', QUOTA],
  ['body', '550 The from address does not match a verified Sender Identity. Mail cannot be ' +
    'sent until this error is resolved.', REFUSED],
  ['MAIL', '550 Unauthenticated senders not allowed', REFUSED],
  ['body', '554 message content rejected, too many recipients', DEAD],
  ['body', '451 You have exceeded your messaging limits', QUOTA],
  ['body', '452 Too many recipients received this hour (recipient throttled)', LATER],
  ['AUTH', '403 You are not authorized to send from that email address', REFUSED],
  ['body', '550 Access denied. Your account has been temporarily disabled', REFUSED],
  // Mailgun
  ['body', '421 Domain shop.example is not allowed to send: recipient limit exceeded. Try ' +
    'again after Sun, 28 Nov 2026 18:00:00 UTC.', QUOTA],
  ['body', '550 5.7.1 Relaying denied: Sandbox subdomains are for test purposes only. Please ' +
    'add your own domain or add the address to authorized recipients in Account ' +
    'Settings.', REFUSED],
  ['body', '554 Domain shop.example is not allowed to send: Your account is temporarily ' +
    'disabled. (account is probationary) Please contact support', REFUSED],
  ['AUTH', '535 5.7.0 Mailgun is not loving your login or password', CREDENTIALS],
  ['body', '421 4.7.0 Too many requests, daily message limit reached', QUOTA],
  ['MAIL', '550 5.7.1 Domain example.com is not active', REFUSED],
  // Postmark
  ['body', '550 5.7.1 Inactive recipient: ann@example.com. You tried to send to a recipient ' +
    'that has been marked as inactive.', DEAD],
  ['RCPT', '406 You tried to send to a recipient that has been marked as inactive.', LATER],
  ['body', '550 5.7.1 The \'From\' address you supplied (Shop <shop@example.com>) is not a ' +
    'Sender Signature on your account. Please add and confirm this address', REFUSED],
  ['body', '550 5.7.1 Your account is pending approval. While it is, all \'From\' addresses ' +
    'must share the domain', REFUSED],
  ['AUTH', '535 5.7.8 Error: authentication failed: API token is invalid', CREDENTIALS],
  ['body', '550 5.7.1 Not allowed to send: you have reached your monthly sending limit', QUOTA],
  // Zoho
  ['body', '550 5.4.6 Unusual sending activity detected. Please try after sometime', QUOTA],
  ['body', '554 5.1.8 Email Outgoing Blocked', REFUSED],
  ['MAIL', '553 Relaying disallowed as shop@example.com', REFUSED],
  ['body', '550 5.4.5 Daily sending quota exceeded', QUOTA],
  ['RCPT', '553 5.7.1 Relaying disallowed. Invalid Domain - example.com', REFUSED],
  ['AUTH', '535 Authentication Failed', CREDENTIALS],
  ['body', '421 4.7.0 You have exceeded your hourly sending limit', QUOTA],
  // Yahoo
  ['greeting', '421 4.7.0 [TSS04] Messages from 192.0.2.1 temporarily deferred due to ' +
    'unexpected volume or user complaints - 4.16.55.1; see https://relay.example/why', REFUSED],
  ['MAIL', '421 4.7.0 [TSS04] Messages from 192.0.2.1 temporarily deferred due to user ' +
    'complaints - 4.16.55.1', REFUSED],
  ['greeting', '553 5.7.1 [BL21] Connections will not be accepted from 192.0.2.1, because the ' +
    'ip is in Spamhaus\'s list; see https://relay.example/why', REFUSED],
  ['RCPT', '554 delivery error: dd This user doesn\'t have a yahoo.com account (ann@yahoo.com) ' +
    '[-9] - mta1.mail.yahoo.com', DEAD],
  ['RCPT', '552 1 Requested mail action aborted, mailbox not found', DEAD],
  ['body', '554 5.7.9 Message not accepted for policy reasons. See ' +
    'https://relay.example/why', DEAD],
  ['body', '554 Message not allowed - Headers are not RFC compliant[291]', DEAD],
  ['body', '550 5.7.9 This mail has been blocked because the sender is unauthenticated. Yahoo ' +
    'requires all senders to authenticate with either SPF or DKIM.', REFUSED],
  ['body', '550 Request failed; Mailbox unavailable', DEAD],
  ['body', '554 Email rejected: You have exceeded your sending limit', QUOTA],
  ['MAIL', '421 Too many messages in this session', RATE],
  // cPanel, Exim
  ['RCPT', '550-Domain shop.example has exceeded the max emails per hour (150/100\r\n550 ' +
    '(150%)) allowed.  Message discarded.', QUOTA],
  ['body', '451-Domain shop.example has exceeded the max defers and failures per hour ' +
    '(5/5\r\n451 (100%)) allowed. Message will be reattempted later', QUOTA],
  ['RCPT', '550 Please turn on SMTP Authentication in your mail client. relay.example ' +
    '[192.0.2.1]:5555 is not permitted to relay through this server without ' +
    'authentication.', REFUSED],
  ['RCPT', '550-Verification failed for <shop@example.com>\r\n550-No Such User Here\r\n550 ' +
    'Sender verify failed', REFUSED],
  ['RCPT', '550 No Such User Here', DEAD],
  ['RCPT', '451 Temporary local problem - please try later', LATER],
  ['RCPT', '550 relay not permitted', REFUSED],
  ['AUTH', '535 Incorrect authentication data', CREDENTIALS],
  ['AUTH', '435 Unable to authenticate at present', LATER],
  ['greeting', '554 5.7.1 <unknown[192.0.2.1]>: Client host rejected: Access denied', REFUSED],
  ['greeting', '421 Too many concurrent SMTP connections; please try again later.', RATE],
  ['greeting', '550 Your IP is blacklisted. JunkMail rejected', REFUSED],
  ['RCPT', '550-JunkMail rejected - relay.example [192.0.2.1]:5555 is in an\r\n550 RBL: ' +
    'https://relay.example/why', REFUSED],
  ['body', '550 Outgoing mail from "shop@example.com" has been suspended.', REFUSED],
  ['RCPT', '550 Sender rate limit exceeded, 100 messages per hour', QUOTA],
  ['RCPT', '450 4.7.1 Sender rate limit: you have exceeded your hourly limit', QUOTA],
  // Postfix
  ['RCPT', '454 4.7.1 <ann@example.com>: Relay access denied', LATER],
  ['RCPT', '450 4.1.1 <ann@example.com>: Recipient address rejected: unverified address: ' +
    'Address verification in progress', LATER],
  ['RCPT', '450 4.2.0 <ann@example.com>: Recipient address rejected: Greylisted, see ' +
    'https://relay.example/why', LATER],
  ['RCPT', '550 5.1.1 <ann@example.com>: Recipient address rejected: User unknown in local ' +
    'recipient table', DEAD],
  ['RCPT', '550 5.7.1 <shop@example.com>: Sender address rejected: Domain not found', REFUSED],
  ['RCPT', '450 4.1.8 <shop@example.com>: Sender address rejected: Domain not found', LATER],
  ['RCPT', '553 5.7.1 <shop@example.com>: Sender address rejected: not owned by user ' +
    'shop', REFUSED],
  ['RCPT', '554 5.7.1 Service unavailable; Client host [192.0.2.1] blocked using ' +
    'zen.spamhaus.org; https://relay.example/why', REFUSED],
  ['RCPT', '504 5.5.2 <localhost>: Helo command rejected: need fully-qualified hostname', REFUSED],
  ['RCPT', '450 4.7.1 Client host rejected: cannot find your hostname, [192.0.2.1]', LATER],
  ['RCPT', '450 4.7.1 <client>: Client host rejected: Too many mails', LATER],
  ['MAIL', '450 4.7.1 Error: too much mail from 192.0.2.1', RATE],
  ['RCPT', '450 4.7.1 Error: too many recipients from 192.0.2.1', RATE],
  ['greeting', '421 4.7.0 relay.example Error: too many connections from 192.0.2.1', RATE],
  ['MAIL', '452 4.3.1 Insufficient system storage', LATER],
  ['MAIL', '452 4.3.4 Message size exceeds fixed limit', LATER],
  ['RCPT', '452 4.5.3 Error: too many recipients', LATER],
  ['body', '552 5.3.4 Error: message file too big', DEAD],
  ['body', '451 4.3.0 Error: queue file write error', LATER],
  ['body', '550 5.7.1 Message content rejected', DEAD],
  ['MAIL', '530 5.7.0 Must issue a STARTTLS command first', ['ours', 'tls']],
  ['body', '554 5.4.0 Error: too many hops', DEAD],
  ['MAIL', '421 4.4.2 relay.example Error: timeout exceeded', LATER],
  ['MAIL', '552 5.2.3 Sending quota exceeded', QUOTA],
  ['RCPT', '450 4.7.1 Quota exceeded for the sender, try tomorrow', QUOTA],
  ['RCPT', '452 4.2.2 Mailbox full', LATER],
  ['RCPT', '552 5.7.0 Policy rejection: sender has exceeded the message quota', QUOTA],
];

describe('a reply', () => {
  test.each([...TABLE, ...WORDINGS])('at %s: %s', async (stage, reply, right, ...[options]) => {
    const [kind, reason] = right;
    const script = await start({ [stage]: reply });
    const client = clientOf(script, options);
    const error = await client.send(LETTER).catch(e => e);
    const isAlert = kind === 'ours' || kind === 'pause';
    expect(error).toMatchObject({
      name: 'SmtpError', kind, reason, retryable: kind !== 'permanent',
      responseCode: Number(reply.slice(0, 3)),
    });
    expect(client.breaker.opened).toBe(kind === 'ours');
    expect(client.paused).toEqual(
      kind === 'pause' ? { reason, since: expect.any(Number), error } : null);
    expect(client.alerts).toEqual(isAlert ? [{ kind: reason, error }] : []);
    const trips = kind === 'retry' && stage !== 'RCPT';
    expect(client.breaker.stats.failures).toBe(Number(trips || kind === 'ours'));
    expect(script.taken).toHaveLength(0);
  });
});

describe('recipients of one mail', () => {
  const to = ['ann@example.com', 'bob@example.com'];
  const refusing = (who, reply) => ({
    RCPT: line => (line.includes(who) ? reply : '250 fine'),
  });

  test('a quota that ends among them keeps the others, and pauses', async () => {
    const script = await start(refusing('bob', '550 5.4.5 Daily sending limit exceeded'));
    const client = clientOf(script);
    expect(await client.send({ ...LETTER, to })).toMatchObject({
      accepted: ['ann@example.com'], deferred: ['bob@example.com'], rejected: [],
    });
    expect(client.paused.reason).toBe('quota');
    expect(client.alerts).toHaveLength(1);
  });

  test('one that was refused for itself weighs less than what concerns all', async () => {
    const script = await start({
      RCPT: line => (line.includes('ann') ? '550 5.7.1 Relaying denied' : '550 5.1.1 Unknown'),
    });
    const client = clientOf(script);
    await expect(client.send({ ...LETTER, to })).rejects.toMatchObject({
      kind: 'ours', reason: 'refused', rejected: [{ address: 'bob@example.com' }],
      deferred: [{ address: 'ann@example.com' }],
    });
  });

  test('one that is deferred keeps no other waiting', async () => {
    const script = await start(refusing('bob', '451 4.7.1 Greylisted'));
    const client = clientOf(script);
    for (let i = 0; i < 20; i++) {
      await client.send({ ...LETTER, to: 'bob@example.com' }).catch(() => {});
      await client.send(LETTER);
    }
    expect(script.taken).toHaveLength(20);
    expect(client.breaker.closed).toBe(true);
  });
});

describe('a token endpoint', () => {
  async function endpoint (answer) {
    const server = http.createServer((req, res) => answer(res));
    await new Promise(resolve => { server.listen(0, '127.0.0.1', resolve); });
    keep({
      close: () => new Promise(resolve => {
        server.close(resolve);
        server.closeAllConnections();
      })
    });
    return `http://127.0.0.1:${server.address().port}/token`;
  }
  const say = (status, text) => res => {
    res.statusCode = status;
    res.end(text);
  };

  test.each([
    ['503 with a page', say(503, '<html>busy</html>'), 'retry'],
    ['503 in JSON', say(503, '{"error":"temporarily_unavailable"}'), 'retry'],
    ['500 without words', say(500, '{}'), 'retry'],
    ['500 with an object', say(500, '{"error":{"code":500,"message":"oh"}}'), 'retry'],
    ['a reset', res => res.socket.resetAndDestroy(), 'retry'],
    ['silence', () => {}, 'retry', { timeout: 200 }],
    ['502 of a proxy', say(502, '<html>Bad Gateway</html>'), 'retry'],
    ['a page of a proxy under 200', say(200, '<html>Sign in to the network</html>'), 'retry'],
    ['an empty page', say(200, ''), 'retry'],
    ['a page that is cut', res => {
      res.writeHead(200, { 'content-length': 100 });
      res.write('{"access');
      setImmediate(() => res.socket.destroy());
    }, 'retry'],
    ['429', say(429, '{"error":"rate_limit_exceeded"}'), 'retry'],
    ['400 for now', say(400, '{"error":"temporarily_unavailable"}'), 'retry'],
    ['a refusal', say(400, '{"error":"invalid_grant","error_description":"revoked"}'), 'ours'],
    ['a refusal of ours', say(401, '{"error":"invalid_client"}'), 'ours'],
  ])('answers with %s', async (_, answer, kind, ...[options]) => {
    const accessUrl = await endpoint(answer);
    const auth = {
      type: 'OAuth2', user: 'shop', clientId: 'x', clientSecret: 'y', refreshToken: 'z', accessUrl
    };
    const client = clientOf(await start(), { auth, ...options });
    await expect(client.send(LETTER)).rejects.toMatchObject({ kind, name: 'SmtpError' });
    expect(client.alerts).toMatchObject(kind === 'ours' ? [{ kind: 'credentials' }] : []);
    expect(client.breaker.opened).toBe(kind === 'ours');
  });

  test('does not listen', async () => {
    const server = net.createServer();
    await new Promise(resolve => { server.listen(0, '127.0.0.1', resolve); });
    const { port } = server.address();
    await new Promise(resolve => { server.close(resolve); });
    const client = clientOf(await start(), {
      auth: {
        type: 'OAuth2', user: 'shop', clientId: 'x', clientSecret: 'y', refreshToken: 'z',
        accessUrl: `http://127.0.0.1:${port}/token`,
      },
    });
    await expect(client.send(LETTER)).rejects.toMatchObject({ kind: 'retry', ambiguous: false });
    expect(client.alerts).toEqual([]);
  });
});

describe('a pause', () => {
  let clock;
  beforeEach(() => { clock = useVirtualClock(); });
  afterEach(() => clock.restore());
  const full = '550 5.4.5 Daily user sending limit exceeded';

  test('for a day lasts two hours, without further attempts; it alerts once', async () => {
    const script = await start({ body: full });
    const client = clientOf(script);
    const resumed = [];
    client.on('resumed', news => resumed.push(news));
    await client.send(LETTER).catch(() => {});
    expect(mailsOf(script)).toBe(1);
    await clock.advance(7_199_999);
    const refusal = await client.send(LETTER).catch(e => e);
    expect(refusal).toMatchObject({
      name: 'SmtpError', code: 'ERR_SMTP_PAUSED', kind: 'pause', reason: 'quota', attempts: 0,
      retryable: true, ambiguous: false,
    });
    expect(mailsOf(script)).toBe(1);
    await clock.advance(1);
    expect(client.paused).toBeNull();
    expect(resumed).toEqual([{ reason: 'quota' }]);
    script.replies = {};
    await client.send(LETTER);
  });

  test('for a pace that was too quick is short, and not told each time', async () => {
    const script = await start({ MAIL: '454 Throttling failure: Maximum sending rate exceeded.' });
    const client = clientOf(script);
    for (let i = 0; i < 5; i++) {
      await client.send(LETTER).catch(() => {});
      expect(client.paused.reason).toBe('rate');
      await clock.advance(30_000);
      expect(client.paused).toBeNull();
    }
    expect(client.alerts).toHaveLength(1);
  });

  test('for an hour lasts 15 minutes', async () => {
    const client = clientOf(await start({
      body: '550 Domain shop.example has exceeded the max emails per hour (125/100)',
    }));
    const { verdict } = await client.send(LETTER).catch(error => error);
    expect(verdict).toMatchObject({ reason: 'quota', pauseMs: 900_000 });
    await clock.advance(899_999);
    expect(client.paused.reason).toBe('quota');
    await clock.advance(1);
    expect(client.paused).toBeNull();
  });

  test('ends by hand, has the length one likes, and can be begun', async () => {
    const script = await start({ body: full });
    const client = clientOf(script, { resumeAfter: 1000 });
    await client.send(LETTER).catch(() => {});
    await clock.advance(1000);
    expect(client.paused).toBeNull();
    await client.send(LETTER).catch(() => {});
    expect(client.resume()).toBe(true);
    expect(client.resume()).toBe(false);
    client.pause('maintenance');
    await clock.advance(1e9);
    await expect(client.send(LETTER)).rejects.toMatchObject({ reason: 'maintenance' });
    client.resume();
    script.replies = {};
    await client.send(LETTER);
    expect(() => clientOf(script, { resumeAfter: 0 })).toThrow(
      expect.objectContaining({ code: 'ERR_INVALID_OPTION', option: 'resumeAfter' }));
  });
});

describeEngines('mails in the outbox', ({ place }) => {
  const it = outboxOf(place);
  let clock;
  beforeEach(() => { clock = useVirtualClock(); });
  afterEach(() => clock.restore());

  // Nothing that is on its way may run out of time while hours pass.
  const LONG = 3_600_000;

  async function begin (replies) {
    const script = await start(replies);
    const client = clientOf(script, { timeout: LONG, maxConnections: 3 });
    await it.store.outbox.enqueue(Array.from({ length: 10 }, (_, i) => (
      { channel: 'EMAIL', recipient: `${i}@example.com`, maxAttempts: 1 })));
    const worker = await it.worker({
      EMAIL: {
        concurrency: 3, breaker: client.breaker, timeout: LONG,
        send: ({ recipient }) => client.send({ ...LETTER, to: recipient }),
      },
    }, { leaseMs: LONG, pollInterval: 1000 });
    const isPaused = () => worker.stats().channels.EMAIL.paused && worker.inFlight === 0;
    await until(async () => isPaused() &&
      (await it.statuses()).every(status => status === 'PENDING'));
    return { script, client, worker, isPaused };
  }
  const attempts = async () => (await it.store.outbox.list()).map(row => row.attemptCount);
  /** Lets time pass while the channel waits, until all are sent. */
  const sendAll = ({ worker, isPaused }) => until(async () => {
    if (isPaused()) await clock.advance(1000);
    return worker.stats().sent === 10;
  });

  test('wait while the quota is used up: none is spent, one is told, then they go', async () => {
    const run = await begin({ body: '550 5.4.5 Daily user sending limit exceeded' });
    const { script, client } = run;
    const asked = mailsOf(script);
    script.replies = {};
    await clock.advance(7_190_000);
    await until(async () => run.isPaused() &&
      (await it.statuses()).every(status => status === 'PENDING'));
    expect(client.alerts).toMatchObject([{ kind: 'quota', error: { enhancedCode: '5.4.5' } }]);
    expect(client.breaker.closed).toBe(true);
    expect(await attempts()).toEqual(Array(10).fill(0));
    expect(mailsOf(script)).toBe(asked);
    await sendAll(run);
    expect(script.taken).toHaveLength(10);
    expect(await attempts()).toEqual(Array(10).fill(1));
    expect(client.alerts).toHaveLength(1);
  });

  test('wait while the server does not want us: none dies, the breaker is open', async () => {
    const run = await begin({ greeting: '554 go away' });
    const { script, client } = run;
    expect(client.alerts).toMatchObject([{ kind: 'refused', error: { responseCode: 554 } }]);
    expect(client.breaker.opened).toBe(true);
    expect(await attempts()).toEqual(Array(10).fill(0));
    script.replies = {};
    await sendAll(run);
    expect(script.taken).toHaveLength(10);
  });

  test('for somebody who does not exist are dead at once; the others go', async () => {
    const script = await start({
      RCPT: line => (line.includes('nobody') ? '550 5.1.1 No such user' : '250 fine'),
    });
    const client = clientOf(script);
    await it.store.outbox.enqueue(['nobody', 'ann'].map(name => (
      { channel: 'EMAIL', recipient: `${name}@example.com` })));
    const worker = await it.worker({
      EMAIL: ({ recipient }) => client.send({ ...LETTER, to: recipient }),
    });
    await until(() => worker.stats().sent + worker.stats().dead === 2);
    const [letter] = await it.store.deadLetters.list();
    expect(letter).toMatchObject({ recipient: 'nobody@example.com', attemptCount: 1 });
    expect(client.breaker.stats.failures).toBe(0);
    expect(client.alerts).toEqual([]);
  });
});

test('a gateway tells of both, and loses no message', async () => {
  const script = await start({ greeting: '554 go away' });
  const fakes = keep(await startFakes());
  const { host, port } = script;
  const gateway = await createGateway(
    // The breaker stays open until the test closes it.
    configFor(fakes, {}, {
      smtp: { host, port, ignoreTls: undefined, circuitBreaker: { resetTimeout: 3_600_000 } },
    }),
    { logger: { debug () {}, info () {}, warn () {}, error () {} } });
  keep({ close: () => gateway.stop() });
  await gateway.start();
  const alertAfter = async act => {
    const alert = new Promise(resolve => { gateway.once('alert', resolve); });
    await act();
    return alert;
  };
  const { smtp } = gateway.clients;
  let id;
  const rested = () => until(async () =>
    (await gateway.store.outbox.get(id)).status === 'PENDING');
  expect(await alertAfter(async () => {
    ({ id } = await gateway.notify(
      { channel: 'EMAIL', recipient: 'ann@example.com', body: 'x', maxAttempts: 1 }));
  })).toMatchObject({ service: 'smtp', kind: 'refused' });
  await rested();
  expect(smtp.breaker.opened).toBe(true);

  script.replies = { body: '550 5.4.5 Daily user sending limit exceeded' };
  expect(await alertAfter(() => smtp.breaker.reset()))
    .toMatchObject({ service: 'smtp', kind: 'quota' });
  await rested();
  expect(await gateway.store.outbox.get(id)).toMatchObject({ attemptCount: 0 });

  script.replies = {};
  smtp.resume();
  await until(async () => (await gateway.store.outbox.get(id)).status === 'SENT');
  expect(script.taken).toHaveLength(1);
});
