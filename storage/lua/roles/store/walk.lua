-- The walk's clauses 3, 8 and 10: who claims which page, what its owner reports, which batons are missing.

local atomic = require('roles.atomic')
local campaigns = require('roles.store.campaigns')
local nodes = require('roles.store.nodes')
local subscribers = require('roles.store.subscribers')
local walk = {}

local EMPTY = setmetatable({}, {__serialize = 'map'})
local TERMINAL = {'delivered', 'dead', 'rejected', 'expired', 'cancelled', 'dropped'}

local function next_baton(page, cursor)
    if page.to_id >= cursor.end_id then
        return box.NULL
    end
    return {page.campaign, page.segment, page.seq + 1, page.to_id}
end

local function advance(c, cursor, node, epoch, now)
    local subs = box.space.store_subscribers
    local size = campaigns.page_size(c)
    local from = cursor.after_id
    local nth = subs:select({from}, {iterator = 'GT', offset = size - 1, limit = 1})[1]
    local last = nth == nil or nth.id >= cursor.end_id
    local to = last and cursor.end_id or nth.id
    local first = subs:select({from}, {iterator = 'GT', limit = 1})[1]
    local empty = first == nil or first.id > to
    local key = {c.id, cursor.segment}
    local page = box.space.store_pages:insert({
        c.id, cursor.segment, cursor.seq, from, to, node, epoch, now, empty and 'settled' or 'claimed', 0, 0, EMPTY, {},
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

-- Answers verdict, from_id, to_id, next baton, spans already settled. Verdicts: 'claimed' (read it and put it),
-- 'empty' (nothing to put, but pass the baton on), 'stale' (ack and drop), 'fenced' (this node must join anew).
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
            -- written, though nothing changes: in a replicated store the answer then waits until the first claim, which
            -- may still be on its way to the quorum, is confirmed
            box.space.store_pages:update({campaign, segment, seq}, {{'=', 'claimed_at', page.claimed_at}})
            return 'claimed', page.from_id, page.to_id, next_baton(page, cursor), page.spans
        end
        if page.state == 'open' and c.state == 'firing' then
            box.space.store_pages:update({campaign, segment, seq}, {
                {'=', 'node', node}, {'=', 'epoch', epoch}, {'=', 'claimed_at', now}, {'=', 'state', 'claimed'},
            })
            return 'claimed', page.from_id, page.to_id, box.NULL, page.spans
        end
        return 'stale'
    end)
end

-- The rows of (from_id, to_id], at most `limit`. Whole tuples: they leave Tarantool as they lie in memory.
function walk.page_read(from_id, to_id, limit)
    local rows = box.space.store_subscribers:select({from_id}, {iterator = 'GT', limit = limit})
    while #rows > 0 and rows[#rows].id > to_id do
        table.remove(rows)
    end
    return rows
end

-- What a span (one batch's part of a page) still owes after a settlement: see clause 3, "less what is settled".
local function settle_span(spans, line)
    for _, span in ipairs(spans) do
        if span[1] == line.channel and span[2] <= line.first and line.last <= span[3] then
            -- a remainder has some of the span's ids, and says which; a batch of a page that changed hands has all that
            -- were left between its first and its last
            local ours, left = {}, {}
            for _, id in ipairs(line.ids or {}) do
                ours[tostring(id)] = true
            end
            for _, id in ipairs(span[4]) do
                local settled = ours[tostring(id)]
                if line.ids == nil then
                    settled = line.first <= id and id <= line.last
                end
                if not settled then
                    table.insert(left, id)
                end
            end
            for _, id in ipairs(line.left) do
                table.insert(left, id)
            end
            span[4] = left
            return spans
        end
    end
    table.insert(spans, {line.channel, line.first, line.last, line.left})
    return spans
end

local function terminal(tallies)
    local n = 0
    for _, outcome in ipairs(TERMINAL) do
        n = n + (tallies[outcome] or 0)
    end
    return n
end

local function apply(node, epoch, line, now)
    local key = {line.campaign, line.segment, line.seq}
    local page = box.space.store_pages:get(key)
    if page == nil or page.node ~= node or page.epoch ~= epoch then
        return -- not the owner any more: whoever reopened the page reports it
    end
    local state, recipients, settled, spans = page.state, page.recipients, page.settled, page.spans
    if line.kind == 'enqueued' then
        state = 'enqueued'
        recipients = settled + line.recipients
        for channel, tallies in pairs(line.tallies) do
            campaigns.tally(line.campaign, channel, tallies)
            settled = settled + terminal(tallies)
        end
    else
        campaigns.tally(line.campaign, line.channel, line.tallies, line.reasons)
        settled = settled + terminal(line.tallies)
        spans = settle_span(spans, line)
        for _, dead in ipairs(line.dead) do
            subscribers.drop(line.channel, dead[1], dead[2], dead[3])
        end
    end
    if state == 'enqueued' and settled >= recipients then
        state, spans = 'settled', {}
        box.space.store_campaigns:update(line.campaign, {{'-', 'pages_open', 1}})
    end
    local tallies = page.tallies
    if line.kind ~= 'enqueued' then
        local sum = tallies[line.channel] or {}
        for outcome, n in pairs(line.tallies) do
            sum[outcome] = (sum[outcome] or 0) + n
        end
        tallies[line.channel] = sum
    end
    box.space.store_pages:update(key, {
        {'=', 'state', state}, {'=', 'recipients', recipients}, {'=', 'settled', settled}, {'=', 'spans', spans},
        {'=', 'tallies', setmetatable(tallies, {__serialize = 'map'})},
    })
    campaigns.check_done(line.campaign, now)
end

-- Clause 8. lines: {{number, line}...} in order. Answers the last number that is in the ledger, or nil if fenced.
function walk.report(node, epoch, lines, now)
    return atomic(function()
        if not nodes.current(node, epoch) then
            return nil
        end
        local reported = box.space.store_nodes:get(node).reported
        for _, entry in ipairs(lines) do
            if entry[1] > reported then
                apply(node, epoch, entry[2], now)
                reported = entry[1]
            end
        end
        box.space.store_nodes:update(node, {{'=', 'reported', reported}, {'=', 'seen_at', now}})
        return reported
    end)
end

-- Clause 10. Answers two lists of batons: any node may put the first; the second are this owner's own claimed pages,
-- of which those without a mark need theirs again.
function walk.strays(node, epoch, now, timeout)
    local any, own = {}, {}
    for _, c in ipairs(box.space.store_campaigns.index.state:select({'firing'})) do
        for _, cursor in box.space.store_cursors:pairs({c.id}) do
            if not cursor.ended and cursor.moved_at + timeout <= now then
                table.insert(any, {c.id, cursor.segment, cursor.seq, cursor.after_id})
            end
        end
    end
    for _, page in box.space.store_pages.index.state:pairs({'open'}) do
        table.insert(any, {page.campaign, page.segment, page.seq, page.from_id})
    end
    for _, page in box.space.store_pages.index.state:pairs({'claimed', node}) do
        if page.epoch == epoch and page.claimed_at + timeout <= now then
            table.insert(own, {page.campaign, page.segment, page.seq, page.from_id})
        end
    end
    return any, own
end

return walk
