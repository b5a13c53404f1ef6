-- The walk's clauses 3, 8 and 10: who claims which page, what its owner reports, which batons are missing.

local answers = require('roles.store.answers')
local atomic = require('roles.atomic')
local campaigns = require('roles.store.campaigns')
local corrections = require('roles.store.corrections')
local dead = require('roles.store.dead')
local id_ranges = require('roles.store.steps.id_ranges')
local nodes = require('roles.store.nodes')
local reach = require('roles.store.reach')
local settled_ids = require('roles.store.settled_ids')
local subscribers = require('roles.store.subscribers')
local unsure = require('roles.store.unsure')
local windows = require('roles.store.windows')
local walk = {}

local EMPTY = setmetatable({}, {__serialize = 'map'})

local function next_baton(page, cursor)
    if page.to_id >= cursor.end_id then
        return box.NULL
    end
    return {page.campaign, page.segment, page.seq + 1, page.to_id}
end

-- The id of the nth subscriber after an id: of the base, or of those that the audience lists. nil: there are fewer.
local function nth_after(id, n, listed)
    if listed == nil then
        local row = box.space.store_subscribers:select({id}, {iterator = 'GT', offset = n - 1, limit = 1})[1]
        return row and row.id
    end
    for _, each in ipairs(listed) do
        if each > id then
            n = n - 1
            if n == 0 then
                return each
            end
        end
    end
end

local function advance(c, cursor, node, epoch, now)
    local listed = campaigns.campaign_listed(c.id)
    local from = cursor.after_id
    local nth = nth_after(from, campaigns.page_size(c), listed)
    local last = nth == nil or nth >= cursor.end_id
    local to = last and cursor.end_id or nth
    local first = nth_after(from, 1, listed)
    local empty = first == nil or first > to
    local key = {c.id, cursor.segment}
    local page = box.space.store_pages:insert({
        c.id, cursor.segment, cursor.seq, from, to, node, epoch, now, empty and 'settled' or 'claimed', 0, 0, EMPTY, {},
        box.NULL, subscribers.now(),
    })
    if last then
        cursor = box.space.store_cursors:update(key, {{'=', 'ended', true}, {'=', 'moved_at', now}})
    else
        cursor = box.space.store_cursors:update(key, {{'+', 'seq', 1}, {'=', 'after_id', to}, {'=', 'moved_at', now}})
    end
    box.space.store_campaigns:update(c.id, {
        {'-', 'segments_open', last and 1 or 0}, {'+', 'pages_open', empty and 0 or 1},
    })
    campaigns.check_done(c.id, now)
    return page, cursor, empty
end

-- Returns verdict, from_id, to_id, next baton, the ids already settled, and whether others of the page may have a push
-- from an owner that is lost, and the only ids that it goes to (nil: all). Verdicts: 'claimed' (read it and put it),
-- 'empty' (nothing to put, but pass the baton on), 'stale' (ack and drop), 'fenced' (this node must join again).
function walk.page_claim(node, epoch, campaign, segment, seq, after_id, now)
    return atomic(function()
        if not nodes.current(node, epoch) then
            return 'fenced'
        end
        local c = box.space.store_campaigns:get(campaign)
        local cursor = box.space.store_cursors:get({campaign, segment})
        if c == nil or cursor == nil then
            return 'stale'
        end
        if c.state == 'firing' and not cursor.ended and cursor.seq == seq and cursor.after_id == after_id then
            local page, moved, empty = advance(c, cursor, node, epoch, now)
            return empty and 'empty' or 'claimed', page.from_id, page.to_id, next_baton(page, moved), {}
        end
        local page = box.space.store_pages:get({campaign, segment, seq})
        if page == nil then
            return 'stale'
        end
        if page.state == 'claimed' and page.node == node and page.epoch == epoch then
            -- written, though nothing changes: so the answer waits until the first claim is on disk and with the quorum
            box.space.store_pages:update({campaign, segment, seq}, {{'=', 'claimed_at', page.claimed_at}})
            return 'claimed', page.from_id, page.to_id, next_baton(page, cursor), page.ended, unsure.counted(page) > 0,
                page.only
        end
        if page.state == 'open' and c.state == 'firing' then
            box.space.store_pages:update({campaign, segment, seq}, {
                {'=', 'node', node}, {'=', 'epoch', epoch}, {'=', 'claimed_at', now}, {'=', 'state', 'claimed'},
            })
            return 'claimed', page.from_id, page.to_id, box.NULL, page.ended, unsure.counted(page) > 0, page.only
        end
        return 'stale'
    end)
end

-- The ids that a line settles: clause 3, "less what is settled".
local function ended_by(line)
    if line.ended == nil and line.first ~= nil then -- a line of version 1, which its queue still owed
        return id_ranges.settled(line.channel, line.first, line.last, line.left, line.ids)
    end
    return line.ended or {}
end

-- The sums that the lines of one report add to each campaign's totals, by channel: written once for all lines.
local totals = {}

local function sum_up(sums, by)
    for word, n in pairs(by or {}) do
        sums[word] = (sums[word] or 0) + n
    end
    return sums
end

-- Add to a page's sums for one channel, and to the campaign's.
local function add(line, tallies, channel, by, reasons)
    tallies[channel] = sum_up(tallies[channel] or {}, by)
    local key = tostring(line.campaign) .. ' ' .. channel
    local total = totals[key] or {campaign = line.campaign, channel = channel, tallies = {}, reasons = {}}
    totals[key] = total
    sum_up(total.tallies, by)
    sum_up(total.reasons, reasons)
end

-- Count this put plus the recipients that had ended before: a page that is put again after it was open counts once. Who
-- was skipped then is counted anew as well.
local function enqueue(line, tallies)
    for channel, sums in pairs(tallies) do
        if line.tallies[channel] == nil then
            add(line, tallies, channel, {
                enqueued = campaigns.terminal(sums) - (sums.enqueued or 0),
                skipped = sums.skipped and -sums.skipped or nil,
                unsure = sums.unsure and -sums.unsure or nil,
            })
        end
    end
    for channel, by in pairs(line.tallies) do
        local before = tallies[channel] or {}
        local more = {}
        for outcome, n in pairs(by) do
            more[outcome] = n
        end
        more.enqueued = (by.enqueued or 0) + campaigns.terminal(before) - (before.enqueued or 0)
        if by.skipped or before.skipped then
            more.skipped = (by.skipped or 0) - (before.skipped or 0)
        end
        if by.unsure or before.unsure then
            more.unsure = (by.unsure or 0) - (before.unsure or 0)
        end
        add(line, tallies, channel, more)
    end
end

-- A line comes after its page was cancelled (its node was away): its recipients did not end as cancelled after all.
local function correct(page, line, tallies)
    local known = tallies[line.channel] or {}
    local ended = campaigns.terminal(line.tallies)
    if line.kind ~= 'settled' or ended == 0 or (known.cancelled or 0) < ended then
        return
    end
    answers.note(page, line, ended_by(line), subscribers.now())
    add(line, tallies, line.channel, line.tallies, line.reasons)
    add(line, tallies, line.channel, {cancelled = -ended, unsure = -math.min(ended, math.max(0, known.unsure or 0))})
    box.space.store_pages:update({page.campaign, page.segment, page.seq}, {
        {'=', 'tallies', setmetatable(tallies, {__serialize = 'map'})},
        {'=', 'ended', settled_ids.add(page.ended, ended_by(line))},
    })
end

local function apply(node, epoch, line, now)
    local key = {line.campaign, line.segment, line.seq}
    local page = box.space.store_pages:get(key)
    if page == nil or page.node ~= node or page.epoch ~= epoch then
        return -- not the owner any more: the page's new owner reports it
    end
    dead.note(line.campaign, line.channel, line.dead or {}, now)
    if line.kind == 'settled' then
        reach.add(line, campaigns.terminal(line.tallies))
    end
    local state, recipients, settled, ended, tallies = page.state, page.recipients, page.settled, page.ended, page.tallies
    corrections.late(line, page, now)
    if state == 'settled' then
        return correct(page, line, tallies)
    end
    local more = ended_by(line)
    answers.note(page, line, more, subscribers.now())
    if line.kind == 'enqueued' then
        state = 'enqueued'
        recipients = settled + line.recipients
        enqueue(line, tallies)
        windows.held(line.campaign, page.held or {}, line.held or {})
        for _, by in pairs(line.tallies) do
            settled = settled + campaigns.terminal(by)
        end
    else
        add(line, tallies, line.channel, line.tallies, line.reasons)
        settled = settled + campaigns.terminal(line.tallies)
    end
    if state == 'enqueued' and settled >= recipients then
        state, ended = 'settled', {}
        box.space.store_campaigns:update(line.campaign, {{'-', 'pages_open', 1}})
    else
        ended = settled_ids.add(ended, more)
    end
    box.space.store_pages:update(key, {
        {'=', 'state', state}, {'=', 'recipients', recipients}, {'=', 'settled', settled}, {'=', 'ended', ended},
        {'=', 'tallies', setmetatable(tallies, {__serialize = 'map'})},
        line.kind == 'enqueued' and {'=', 'held', line.held or box.NULL} or nil,
        line.kind == 'enqueued' and {'=', 'put_at', subscribers.now()} or nil,
    })
    campaigns.check_done(line.campaign, now)
end

-- Clause 8. lines: {{number, line}...} in order; a line of kind `void` stands for one that was refused. Returns the
-- last number that is in the ledger, or nil if fenced.
function walk.report(node, epoch, lines, now)
    return atomic(function()
        if not nodes.reports(node, epoch) then
            return nil
        end
        local reported = box.space.store_nodes:get(node).reported
        totals = {}
        reach.begin()
        for _, entry in ipairs(lines) do
            if entry[1] > reported then
                if entry[2].kind ~= 'void' then
                    apply(node, epoch, entry[2], now)
                end
                reported = entry[1]
            end
        end
        for _, total in pairs(totals) do
            campaigns.tally(total.campaign, total.channel, total.tallies, total.reasons)
            windows.moved(total.campaign, now)
        end
        reach.write(node)
        box.space.store_nodes:update(node, {{'=', 'reported', reported}})
        return reported
    end)
end

-- As many as a call may put on a queue (roles/tubes/batons.lua).
walk.BATONS_A_CALL = 1000

-- Batons for a campaign's open pages, at most `limit`.
function walk.open_pages(id, limit)
    local batons = {}
    for _, node in box.space.store_nodes:pairs() do
        for _, page in box.space.store_pages.index.state:pairs({'open', node.name, id}) do
            if #batons >= limit then
                return batons
            end
            table.insert(batons, {id, page.segment, page.seq, page.from_id})
        end
    end
    return batons
end

-- Clause 10. Returns two lists of batons, each of no more than a call may put: any node may put the first; the second is
-- for this owner's claimed pages, of which the pages without a mark need their baton again.
function walk.strays(node, epoch, now, timeout)
    local any, own = {}, {}
    for _, c in ipairs(box.space.store_campaigns.index.state:select({'firing'})) do
        for _, cursor in box.space.store_cursors:pairs({c.id}) do
            if not cursor.ended and cursor.moved_at + timeout <= now and #any < walk.BATONS_A_CALL then
                table.insert(any, {c.id, cursor.segment, cursor.seq, cursor.after_id})
            end
        end
        for _, baton in ipairs(walk.open_pages(c.id, walk.BATONS_A_CALL - #any)) do
            table.insert(any, baton)
        end
    end
    for _, page in box.space.store_pages.index.state:pairs({'claimed', node}) do
        if page.epoch == epoch and page.claimed_at + timeout <= now and #own < walk.BATONS_A_CALL then
            table.insert(own, {page.campaign, page.segment, page.seq, page.from_id})
        end
    end
    return any, own
end

return walk
