-- Clause 13: a campaign gets other texts. Who is not settled gets them from the tubes: their version comes to every queue
-- with the lease, and a batch goes out with the texts of the lease under which it was taken. Who is settled gets them from
-- a second walk, a campaign of its own: its pages are those of the first one, and of each only the people who were delivered
-- to. Who may have an old text gets the new one from the tubes, too, or from the second walk, if the first one was cancelled.

local fiber = require('fiber')
local answers = require('roles.store.answers')
local atomic = require('roles.atomic')
local campaigns = require('roles.store.campaigns')
local nodes = require('roles.store.nodes')
local settled_ids = require('roles.store.settled_ids')
local subscribers = require('roles.store.subscribers')
local sums = require('roles.store.sums')
local unsure = require('roles.store.unsure')
local windows = require('roles.store.windows')

local corrections = {}

local PAGES_A_STEP = 50
local LATE = 2 ^ 20 - 1 -- the segment of those whom a queue that was away reports late
corrections.LATE = LATE
local EMPTY = setmetatable({}, {__serialize = 'map'})
local MAY = {paused = true, done = true, cancelled = true}

local function row_of(id)
    return box.space.store_corrections:get(id)
end

-- Whether the second walk of a campaign is not complete yet: until then the campaign may not go on.
function corrections.unfinished(id)
    local row = row_of(id)
    return row ~= nil and not row.copied
end

-- {campaign, version of its texts} of every campaign of which a queue may still have batches.
function corrections.standing()
    local list = {}
    for _, row in box.space.store_corrections:pairs() do
        local c = box.space.store_campaigns:get(row.campaign)
        if c ~= nil and not campaigns.over(c) then
            table.insert(list, {row.campaign, row.texts})
        end
    end
    return list
end

-- The first step: the campaign, which is paused or over, has other texts from now on. Returns 'copying', 'copied', or why not.
local function rewrite(id, second, message, now)
    local c, known = box.space.store_campaigns:get(id), row_of(id)
    if c == nil then
        return nil
    elseif known ~= nil and known.second == second then
        return known.copied and 'copied' or 'copying'
    elseif not MAY[c.state] or c.policy.archive ~= nil then
        return c.policy.archive ~= nil and 'archived' or c.state
    end
    local former = known ~= nil and box.space.store_campaigns:get(known.second)
    if former and not campaigns.over(former) then
        return 'corrected' -- that walk must be over first: its texts are old, too
    end
    local walk = box.space.store_campaigns:get(second)
    if walk == nil or walk.state ~= 'draft' or walk.policy.corrects ~= id then
        error('campaign_correct: no draft of a second walk for this campaign', 0)
    end
    local messages = known ~= nil and known.former or {}
    table.insert(messages, {now, c.message})
    box.space.store_corrections:replace({id, (known ~= nil and known.texts or 0) + 1, second, false, messages})
    local policy = c.policy
    policy.adapted = nil -- a correction fits every platform as it is
    box.space.store_campaigns:update(id, {
        {'=', 'message', message}, {'+', 'version', 1}, {'=', 'policy', setmetatable(policy, {__serialize = 'map'})},
    })
    return 'copying'
end

-- Whether everybody whom a page enqueued is settled with a text.
local function whole(page)
    for _, by in pairs(page.tallies) do
        if (by.cancelled or 0) > 0 then
            return false
        end
    end
    return page.state == 'settled'
end

-- Who of a page is to get the new texts from the second walk, as a packed set; nil: everybody whom it enqueued. `over`: the
-- campaign is cancelled, and sends none of them itself.
local function had_it(page, over)
    local without, unknown = answers.undelivered(page)
    local all = whole(page)
    if all and next(without) == nil then
        return box.NULL
    end
    local had = all and settled_ids.all(page.from_id, page.to_id) or settled_ids.unpack(page.ended) or {}
    settled_ids.without(had, settled_ids.without(without, unknown))
    return settled_ids.pack(over and settled_ids.join(had, unknown) or had)
end

local function put(second, page, seq, segment, from, to, now, only)
    box.space.store_pages:insert({
        second, segment, seq, from, to, page.node, page.epoch, now, 'open', 0, 0, EMPTY, {}, box.NULL, subscribers.now(), box.NULL, only,
    })
end

-- Copy the next pages. Returns whether there may be more.
local function copy_some(id, second, now)
    local last = box.space.store_pages.index.id:select({second, LATE}, {iterator = 'LT', limit = 1})[1]
    local over = campaigns.over(box.space.store_campaigns:get(id))
    local after = last ~= nil and last.campaign == second and {id, last.segment, last.seq} or {id}
    local n = 0
    for _, page in box.space.store_pages:pairs(after, {iterator = #after > 1 and 'GT' or 'GE'}) do
        if page.campaign ~= id or n == PAGES_A_STEP then
            break
        elseif page.segment ~= LATE then
            put(second, page, page.seq, page.segment, page.from_id, page.to_id, now, had_it(page, over))
            n = n + 1
        end
    end
    return n == PAGES_A_STEP
end

-- The last step: the second walk begins. What was not walked needs no other texts.
local function begin(id, second, given, now)
    local row = row_of(id)
    if row.copied then
        return
    end
    local c = box.space.store_campaigns:get(second)
    local open = box.space.store_pages.index.id:count({second})
    for _, cursor in box.space.store_cursors:pairs({id}) do
        if cursor.segment ~= LATE then
            box.space.store_cursors:insert({second, cursor.segment, cursor.seq, cursor.end_id, cursor.end_id, true, now})
            if not cursor.ended then
                box.space.store_pages:insert({
                    second, cursor.segment, cursor.seq, cursor.after_id, cursor.end_id, '', 0, now, 'settled', 0, 0, EMPTY, {},
                    box.NULL, subscribers.now(), box.NULL, {},
                })
            end
        end
    end
    box.space.store_cursors:insert({second, LATE, 0, 0, 0, true, now})
    for _, total in ipairs(box.space.store_totals:select({id})) do
        local by, counts = total.tallies, box.space.store_counts:get(total.channel)
        sums.tally(second, total.channel, {
            rows = (by.enqueued or 0) + (by.skipped or 0), removed_before = counts and counts.removed or 0,
        })
    end
    local listed = campaigns.campaign_listed(id)
    if listed ~= nil then
        box.space.store_listed:replace({second, listed})
    end
    local policy = c.policy
    if given ~= nil then
        windows.keep(second, given, now)
        policy.ends_at = given[4]
    end
    box.space.store_campaigns:update(second, {
        {'=', 'state', 'firing'}, {'=', 'fired_at', now}, {'=', 'pages_open', open}, {'+', 'version', 1},
        {'=', 'policy', setmetatable(policy, {__serialize = 'map'})},
    })
    box.space.store_corrections:update(id, {{'=', 'copied', true}})
    campaigns.check_done(second, now)
end

-- Give a campaign other texts, and begin the second walk, a draft until now. In small steps: a call that is interrupted is
-- to be repeated, and until then the campaign stays paused. `given`: the second walk's window classes. Returns 'copied', or the state because of which nothing was written, or nil if there is no such campaign.
function corrections.campaign_correct(id, second, message, now, given)
    local verdict = atomic(rewrite, id, second, message, now)
    if verdict ~= 'copying' then
        return verdict
    end
    while atomic(copy_some, id, second, now) do
        fiber.yield()
    end
    atomic(begin, id, second, given, now)
    return 'copied'
end

local function bounds(blocks)
    local least, most
    for block in pairs(blocks) do
        least, most = math.min(least or block, block), math.max(most or block, block)
    end
    return math.max(0, least * 64 - 1), most * 64 + 63
end

-- One more page of the second walk, to these people of a page of the first one.
local function put_late(row, page, people, now)
    local c = box.space.store_campaigns:get(row.second)
    if next(people) == nil or c.state == 'cancelled' or c.state == 'cancelling' then
        return
    end
    local from, to = bounds(people)
    local last = box.space.store_pages.index.id:max({row.second, LATE})
    put(row.second, page, last ~= nil and last.seq + 1 or 0, LATE, from, to, now, settled_ids.pack(people))
    if row.copied then -- else `begin` counts it
        local again = c.state == 'done'
        box.space.store_campaigns:update(row.second, {
            {'+', 'pages_open', 1}, {'=', 'state', again and 'firing' or c.state}, {'+', 'version', again and 1 or 0},
            {'=', 'finished_at', again and 0 or c.finished_at},
        })
    end
end

-- Inside the caller's transaction: a line comes from a queue that was away when the texts were changed, and says that these
-- people were sent the old ones, or of a cancelled campaign that they may have them. They get the new ones, too.
function corrections.late(line, page, now)
    local row = row_of(line.campaign)
    if row == nil or line.kind ~= 'settled' or (line.texts or 0) >= row.texts then
        return
    end
    if not row.copied and box.space.store_pages:get({row.second, line.segment, line.seq}) == nil then
        return -- the page will be copied with them
    end
    local people = settled_ids.unpack(line.ended) or {}
    for _, each in ipairs(line.answers or {}) do
        if answers.UNDELIVERED[each[1]] then
            settled_ids.without(people, settled_ids.unpack(each[5]) or {})
        end
    end
    if campaigns.over(box.space.store_campaigns:get(line.campaign)) then
        for _, each in ipairs(line.answers or {}) do
            if each[1] == answers.UNKNOWN then
                settled_ids.join(people, settled_ids.unpack(each[5]) or {})
            end
        end
    end
    put_late(row, page, people, now)
end

-- Inside the caller's transaction: this page is cancelled. Who may have an old text of it gets the new one.
function corrections.page_cancelled(page, now)
    local row = row_of(page.campaign)
    if row == nil or page.segment == LATE then
        return
    end
    if not row.copied and box.space.store_pages:get({row.second, page.segment, page.seq}) == nil then
        return
    end
    local _, unknown = answers.undelivered(page)
    put_late(row, page, settled_ids.without(unknown, settled_ids.unpack(page.ended) or {}), now)
end

-- Cancelled pages {campaign, segment, seq} of a node that was away, and is forgotten: some may have an old text, and nobody
-- will ever report them.
local function unreported(node)
    local keys = {}
    for _, row in box.space.store_corrections:pairs() do
        local c = box.space.store_campaigns:get(row.campaign)
        if c ~= nil and c.state == 'cancelled' then
            for _, page in box.space.store_pages.index.state:pairs({'settled', node, row.campaign}) do
                if unsure.counted(page) > 0 and not nodes.reports(node, page.epoch) then
                    table.insert(keys, {page.campaign, page.segment, page.seq})
                end
            end
        end
    end
    return keys
end

-- All of the page who may have an old text get the new one, once.
local function page_lost(key, now)
    local page = box.space.store_pages:get(key)
    local _, known = answers.undelivered(page)
    answers.forgotten(page, now)
    local _, unknown = answers.undelivered(page)
    settled_ids.without(settled_ids.without(unknown, known), settled_ids.unpack(page.ended) or {})
    put_late(row_of(page.campaign), page, unknown, now)
end

function nodes.when_reopened(name)
    for _, key in ipairs(unreported(name)) do
        atomic(page_lost, key, subscribers.now())
    end
end

return corrections
