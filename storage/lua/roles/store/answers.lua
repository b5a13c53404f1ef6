-- What became of those who were not simply delivered to: kept by page, with their ids as a set, so that `explain` can
-- name each of them. An ordinary delivery writes nothing here. All of it runs inside the caller's transaction.

local memory = require('roles.memory')
local settled_ids = require('roles.store.settled_ids')
local sums = require('roles.store.sums')
local answers = {}

local MOST = 100000 -- rows of all campaigns; then those of the oldest leave
local A_PAGE = 40 -- rows of a page with different reasons; more are kept as 'other'
local ATTEMPTS = 8 -- attempts with a row of their own
local LONGEST = 100 -- bytes of a reason
local EXCEPTIONAL = {dead = true, rejected = true, expired = true, dropped = true} -- by themselves, and no delivery
local OLD_STEP = 50
local DELIVERED = sums.DELIVERED

answers.UNKNOWN = 'unknown'
answers.UNDELIVERED = EXCEPTIONAL

-- Rows of the oldest campaign leave, unless that is this one. Returns whether there is room.
local function make_room(campaign)
    local space = box.space.store_answers
    if space:len() < MOST then
        return true
    end
    local first = space.index.id:min()
    if first.campaign == campaign then
        return false
    end
    for _, old in ipairs(space:select({first.campaign}, {limit = OLD_STEP})) do
        space:delete({old.campaign, old.segment, old.seq, old.number})
    end
    return true
end

-- Keep one answer of `n` recipients of a page. `ids`: a packed set; rest: all of the page but these.
local function keep(page, outcome, reason, attempt, n, ids, now, rest)
    if memory.full() then
        return -- a report must be possible all the same
    end
    local space = box.space.store_answers
    local rows = space:select({page.campaign, page.segment, page.seq})
    reason, attempt = reason:sub(1, LONGEST), math.min(tonumber(attempt), ATTEMPTS)
    for pass = 1, 2 do
        for _, row in ipairs(rows) do
            if not rest and not row.rest and row.outcome == outcome and row.reason == reason
                and row.attempt == attempt and row.node == page.node then
                space:update({row.campaign, row.segment, row.seq, row.number}, {
                    {'=', 'ids', settled_ids.add(row.ids, ids)}, {'+', 'recipients', n}, {'=', 'at', now},
                })
                return
            end
        end
        if #rows < A_PAGE or pass == 2 then
            break
        end
        reason, attempt = 'other', ATTEMPTS
    end
    if make_room(page.campaign) then
        space:insert({page.campaign, page.segment, page.seq, #rows > 0 and rows[#rows].number + 1 or 1, outcome, reason,
                      attempt, page.node, now, n, ids, rest or false})
    end
end

-- The only outcome of a line of which nobody was delivered to, with its reason; nil: there are several, or none.
local function only(line)
    local outcome, n = nil, 0
    local function look(by)
        for word, count in pairs(by) do
            if EXCEPTIONAL[word] and count > 0 then
                if outcome ~= nil and outcome ~= word then
                    return false
                end
                outcome, n = word, n + count
            elseif word == DELIVERED and count > 0 then
                return false
            end
        end
        return true
    end
    if line.kind == 'enqueued' then
        for _, by in pairs(line.tallies) do
            if not look(by) then
                return nil
            end
        end
        return outcome, n, 'no node served its channel in time'
    end
    return look(line.tallies) and outcome or nil, n, next(line.reasons or {}) or ''
end

-- Keep what a line of the outbox tells of exceptions. `ended`: the set of ids that it settles.
function answers.note(page, line, ended, now)
    for _, each in ipairs(line.answers or {}) do
        keep(page, each[1], each[2], each[3], each[4], each[5], now)
    end
    if line.answers == nil and #ended > 0 then
        local outcome, n, reason = only(line)
        if outcome ~= nil then
            keep(page, outcome, reason, 0, n, ended, now)
        end
    end
end

-- The page's owner is forgotten: what it had not reported may have been sent. `now`: ms.
function answers.forgotten(page, now)
    keep(page, answers.UNKNOWN, page.node .. ' was forgotten', 0, 0, page.ended, now, true)
end

-- Of a page: the answers that a subscriber has, {outcome, reason, attempt, node, at} each, the earliest first; and how
-- many recipients have an answer that is kept, by terminal outcome.
function answers.of(campaign, segment, seq, subscriber)
    local found, kept = {}, setmetatable({}, {__serialize = 'map'})
    for _, row in ipairs(box.space.store_answers:select({campaign, segment, seq})) do
        local blocks = settled_ids.unpack(row.ids)
        local there = blocks ~= nil and settled_ids.has(blocks, subscriber)
        if there ~= row.rest then
            table.insert(found, {row.outcome, row.reason, row.attempt, row.node, row.at})
        end
        if EXCEPTIONAL[row.outcome] then
            kept[row.outcome] = (kept[row.outcome] or 0) + row.recipients
        end
    end
    return found, kept
end

-- Who of a page has an outcome that is no delivery, and who may have a push that was never answered: two sets as blocks.
function answers.undelivered(page)
    local without, unknown = {}, {}
    for _, row in ipairs(box.space.store_answers:select({page.campaign, page.segment, page.seq})) do
        local blocks = settled_ids.unpack(row.ids) or {}
        if EXCEPTIONAL[row.outcome] then
            settled_ids.join(without, blocks)
        elseif row.outcome == answers.UNKNOWN then
            local all = row.rest and settled_ids.all(page.from_id, page.to_id) or nil
            settled_ids.join(unknown, all ~= nil and settled_ids.without(all, blocks) or blocks)
        end
    end
    return without, unknown
end

-- Up to `limit` rows of a campaign behind {segment, seq, number}, whole, for an archive.
function answers.campaign_answers(campaign, after, limit)
    local list = {}
    local key = after ~= nil and {campaign, unpack(after, 1, 3)} or {campaign}
    for _, row in box.space.store_answers:pairs(key, {iterator = after ~= nil and 'GT' or 'GE'}) do
        if row.campaign ~= campaign or #list >= limit then
            break
        end
        table.insert(list, row)
    end
    return list
end

-- Delete up to `limit` rows of a campaign. Returns how many.
function answers.drop(campaign, limit)
    local rows = box.space.store_answers:select({campaign}, {limit = limit})
    for _, row in ipairs(rows) do
        box.space.store_answers:delete({row.campaign, row.segment, row.seq, row.number})
    end
    return #rows
end

return answers
