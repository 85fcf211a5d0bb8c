/**
 * What the sandbox answers with. Times are seconds since 1970 by the sandbox's clock.
 *
 * @typedef {{now: number, frozen: boolean, speed: number}} ClockState
 * @typedef {{version: string, epoch: number, clock: ClockState, counts: Record<string, number>, features: Record<string, boolean>}} Changes
 * @typedef {{id: string, name: string, phone: string|null, bsuid: string|null, channel: string, channel_phone: string,
 *   status: string, operator: string|null, tags: string[], preview: string, last_status: string, time: number,
 *   messages: number, unread: number, window_until: number|null}} ConversationRow
 * @typedef {{code: string, detail: string}} Reason
 * @typedef {{name: string, type: string, size: number, is_image: boolean, message: string}} MediaInfo
 * @typedef {{button: string, sections: {title: string, rows: {title: string, description: string}[]}[]}} Choices
 * @typedef {{id: string, index: number, from_business: boolean, kind: string, status: string, reason: Reason|null,
 *   time: number, header: string|null, body: string, footer: string|null, buttons: string[], list: Choices|null,
 *   media: MediaInfo|null, campaign: {id: string, name: string, template: string}|null, sender: string|null}} Bubble
 * @typedef {{id: string, name: string, phone: string|null, bsuid: string|null, source: string, teams: string[],
 *   attributes: [string, string][], allow_broadcast: boolean, opted_in: boolean, created: number,
 *   conversations: string[]}} ContactRow
 * @typedef {{id: string, name: string, template: string, channel: string, status: string, starts_at: number,
 *   recipients: number, funnel: Record<string, number>, now: Record<string, number>}} CampaignRow
 * @typedef {{id: string, name: string, phone: string|null, bsuid: string|null, status: string, reason: Reason|null,
 *   conversation: string|null}} RecipientRow
 * @typedef {{time: number, method: string, path: string, query: string, status: number|null, milliseconds: number,
 *   fault: string|null, answer: string}} CallRow
 * @typedef {{id: number, kind: string, method: string, path: string, contains: string, skip: number,
 *   count: number|null, probability: number, when: string, seconds: number, status: number, body: string|null,
 *   answer: Record<string, any>, fired: number, seen: number}} Fault
 */

/**
 * A page of rows.
 *
 * @template Row
 * @typedef {{total: number, skip: number, rows: Row[]}} Slice
 */

/**
 * A view that the frame shows. `refresh` is called whenever the sandbox has something new.
 *
 * @typedef {{element: HTMLElement, heading: HTMLElement, refresh: () => Promise<void>, tick?: () => void,
 *   follow?: (id: string|undefined, byHand: boolean) => Promise<void>, close?: () => void}} View
 */

export {};
