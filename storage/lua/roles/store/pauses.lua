-- Clause 12: firing -> pausing -> paused -> firing, and cancelling -> cancelled. Only the cursors of a firing campaign
-- move. A campaign stands still when every node that may hold a lease has reported that it sends nothing of it and owes
-- no line about it, and has put every page that it had claimed.

local fiber = require('fiber')
local armed = require('roles.store.armed')
local atomic = require('roles.atomic')
local campaigns = require('roles.store.campaigns')
local cancelled_campaigns = require('roles.store.cancelled_campaigns')
local channels = require('roles.store.channels')
local corrections = require('roles.store.corrections')
local dead = require('roles.store.dead')
local node_states = require('roles.store.node_states')
local nodes = require('roles.store.nodes')
local unsure = require('roles.store.unsure')
local walk = require('roles.store.walk')
local pauses = {}

local ROWS_A_STEP = 100

-- What nodes have reported to this instance; repeated every second, so it need not be stored. The version is in the
-- key: reports about an earlier pause do not count for this one.
local quiet = {}

-- The same for nodes that have asked since: they know of the pause.
local heard = {}

local function word(node, epoch, id, version)
    return ('%s %s %s %s'):format(node, tostring(epoch), tostring(id), tostring(version))
end

local function set_state(id, state, now)
    local ended = state == 'cancelled'
    local c = box.space.store_campaigns:update(id, {
        {'=', 'state', state}, {'+', 'version', 1}, {'=', 'finished_at', ended and now or 0},
    })
    if ended then
        cancelled_campaigns.note(c)
        campaigns.ended(id, now)
    end
end

-- Inside the caller's transaction: firing -> pausing. Returns the state, as `campaign_pause`.
function pauses.begin_pause(id, now)
    local c = box.space.store_campaigns:get(id)
    if c ~= nil and c.state == 'firing' then
        set_state(id, 'pausing', now)
    end
    return c and box.space.store_campaigns:get(id).state
end

-- Each returns the campaign's new state (unchanged if the verb does not apply), or nil if there is no such campaign.
function pauses.campaign_pause(id, now)
    return atomic(pauses.begin_pause, id, now)
end

-- Begin to cancel a campaign; one that has not started is cancelled at once. Its state, or nil.
function pauses.campaign_cancel(id, now)
    return atomic(function()
        local c = box.space.store_campaigns:get(id)
        if c ~= nil and (c.state == 'draft' or c.state == 'scheduled') then
            set_state(id, 'cancelled', now) -- nobody was enqueued
        elseif c ~= nil and c.state == 'armed' then
            armed.take_back(c, now)
        elseif c ~= nil and (c.state == 'firing' or c.state == 'pausing' or c.state == 'paused') then
            set_state(id, 'cancelling', now)
        end
        return c and box.space.store_campaigns:get(id).state
    end)
end

-- One transaction: note that these segments of a firing campaign move from now on. Returns their batons.
local function move_on(id, segments, now)
    local batons = {}
    local c = box.space.store_campaigns:get(id)
    for _, segment in ipairs(c.state == 'firing' and segments or {}) do
        local cursor = box.space.store_cursors:get({id, segment})
        if not cursor.ended then
            box.space.store_cursors:update({id, segment}, {{'=', 'moved_at', now}})
            table.insert(batons, {id, segment, cursor.seq, cursor.after_id})
        end
    end
    return batons
end

-- Also returns batons to put: one for each segment that has not ended, and one for each open page, of which the
-- shepherds make what is more than a call may put. In small steps after the first, which alone resumes the campaign: if
-- they are interrupted, shepherds make those batons too.
function pauses.campaign_resume(id, now)
    local state, resumed = atomic(function()
        local c = box.space.store_campaigns:get(id)
        local halted = c ~= nil and (c.state == 'pausing' or c.state == 'paused') and not corrections.unfinished(id)
        if halted then
            set_state(id, 'firing', now)
            campaigns.check_done(id, now)
        end
        return c and box.space.store_campaigns:get(id).state, halted
    end)
    if state == nil then
        return nil
    end
    local batons, segments = {}, {}
    local function step()
        for _, baton in ipairs(atomic(move_on, id, segments, now)) do
            table.insert(batons, baton)
        end
        segments = {}
        fiber.yield()
    end
    for _, cursor in ipairs(resumed and box.space.store_cursors:select({id}) or {}) do
        table.insert(segments, cursor.segment)
        if #segments == ROWS_A_STEP then
            step()
        end
    end
    if #segments > 0 then
        step()
    end
    if resumed then
        for _, page in ipairs(walk.open_pages(id, walk.BATONS_A_CALL - #batons)) do
            table.insert(batons, page)
        end
    end
    return state, batons
end

local function stands_still(c)
    for _, node in ipairs(box.space.store_nodes:select()) do
        if node.status ~= 'forgotten' and not nodes.lease_over(node) then
            if not quiet[word(node.name, node.epoch, c.id, c.version)] then
                return false
            end
            for _, page in box.space.store_pages.index.state:pairs({'claimed', node.name, c.id}) do
                if page.epoch == node.epoch then
                    return false
                end
            end
        end
    end
    return true
end

-- The keys of a campaign's unsettled pages, at most `limit` of them.
local function unsettled(id, limit)
    local keys = {}
    for _, state in ipairs({'claimed', 'enqueued', 'open'}) do
        for _, node in box.space.store_nodes:pairs() do
            for _, page in box.space.store_pages.index.state:pairs({state, node.name, id}) do
                if #keys == limit then
                    return keys
                end
                table.insert(keys, {id, page.segment, page.seq})
            end
        end
    end
    return keys
end

-- End up to ROWS_A_STEP unsettled pages of a campaign that stands still. Returns whether there may be more.
local function cancel_pages(id, now)
    local keys = unsettled(id, ROWS_A_STEP)
    for _, key in ipairs(keys) do
        local page = box.space.store_pages:get(key)
        local owner = box.space.store_nodes:get(page.node)
        corrections.page_cancelled(page, now)
        local away = owner ~= nil and nodes.lease_over(owner) and page.state ~= 'open'
        local tallies, recipients, settled = away and unsure.note(page) or page.tallies, 0, 0
        for _, sums in pairs(tallies) do
            local ended = campaigns.terminal(sums)
            sums.cancelled = (sums.cancelled or 0) + math.max(0, (sums.enqueued or ended) - ended)
            recipients, settled = recipients + (sums.enqueued or ended), settled + campaigns.terminal(sums)
        end
        box.space.store_pages:update(key, { -- `ended` stays: it tells who of the page was not cancelled
            {'=', 'state', 'settled'}, {'=', 'recipients', recipients}, {'=', 'settled', settled},
            {'=', 'tallies', setmetatable(tallies, {__serialize = 'map'})},
        })
    end
    box.space.store_campaigns:update(id, {{'-', 'pages_open', #keys}})
    return #keys > 0
end

-- Cancel the rest of the audience: recipients on tubes, and recipients of pages that nobody had claimed. Where only the
-- walk finds out who is in the audience, nobody ends as cancelled who was not enqueued: what was not walked is counted
-- in rows.
local function cancel_rest(id, now)
    for _, row in ipairs(box.space.store_totals:select({id})) do
        local sums = row.tallies
        if sums.rows == nil then
            local rest = (sums.audience or 0) - campaigns.terminal(sums)
            campaigns.tally(id, row.channel, {cancelled = math.max(0, rest)})
        else
            local enqueued = sums.enqueued or 0
            campaigns.tally(id, row.channel, {
                cancelled = math.max(0, enqueued - campaigns.terminal(sums)),
                unwalked = math.max(0, sums.rows - enqueued - (sums.skipped or 0)),
            })
        end
    end
    set_state(id, 'cancelled', now)
end

local function settle(id, now)
    local c = box.space.store_campaigns:get(id)
    if c == nil or not stands_still(c) then
        return false
    elseif c.state == 'pausing' then
        set_state(id, 'paused', now)
        for _, node in ipairs(box.space.store_nodes:select()) do -- the pause has another version now
            local was = quiet[word(node.name, node.epoch, id, c.version)]
            quiet[word(node.name, node.epoch, id, c.version + 1)] = was
        end
    elseif c.state == 'cancelling' then
        if cancel_pages(id, now) then
            return true
        end
        cancel_rest(id, now)
    end
    return false
end

-- Take every pause and every cancel as far as it can go now.
local function advance(now)
    for _, state in ipairs({'pausing', 'cancelling'}) do
        for _, c in ipairs(box.space.store_campaigns.index.state:select({state})) do
            while atomic(settle, c.id, now) do
                fiber.yield()
            end
        end
    end
    if next(quiet) ~= nil and #box.space.store_campaigns.index.state:select({'pausing'}, {limit = 1}) == 0
        and #box.space.store_campaigns.index.state:select({'paused'}, {limit = 1}) == 0
        and #box.space.store_campaigns.index.state:select({'cancelling'}, {limit = 1}) == 0 then
        quiet, heard = {}, {}
    end
end

-- {campaign, version, purge, settling} for each campaign of which a queue must hand out nothing. `purge`: the queue
-- deletes its batches. Cancelled ones stay in the list for as long as a queue that was away might still send some of
-- them.
local function paused_campaigns(now)
    local list = {}
    for _, state in ipairs({'pausing', 'paused', 'cancelling'}) do
        for _, c in box.space.store_campaigns.index.state:pairs({state}) do
            table.insert(list, {c.id, c.version, state == 'cancelling', state ~= 'paused'})
        end
    end
    for _, c in ipairs(cancelled_campaigns.standing(now)) do
        table.insert(list, {c.id, c.version, true, false})
    end
    return list
end

-- A node's heartbeat. `still`: {campaign, version}s of which it sends nothing and owes nothing; `states`: why its
-- channels stand still, see `channels.note`; `text`: what runs on it, see `node_states.note`. Returns the lease's
-- seconds, the paused campaigns, the dead ledger's questions and answers, and whether somebody looks at the nodes'
-- states, and the versions of corrected texts, or nothing if this epoch is not current.
function pauses.node_renew(name, epoch, now, still, states, text)
    if not nodes.renew(name, epoch, now) then
        return nil
    end
    channels.note(name, epoch, states)
    node_states.note(name, now, text)
    for _, campaign in ipairs(still) do
        quiet[word(name, epoch, campaign[1], campaign[2])] = true
    end
    advance(now)
    local paused = paused_campaigns(now)
    for _, pause in ipairs(paused) do
        if pause[4] then
            heard[word(name, epoch, pause[1], pause[2])] = true
        end
    end
    return nodes.LEASE, paused, dead.standing(), node_states.wanted(), corrections.standing()
end

-- What is behind a campaign's cut line: {node, state, n} for each node that has not reported yet that it sends nothing of
-- it. States: 'not yet' (it does not know of the pause), 'answers' (it waits for its last answers), 'away': it holds no
-- lease, so it begins nothing, and up to `n` people may have a push that it has not reported.
function pauses.campaign_waits_for(id)
    local list, c = {}, box.space.store_campaigns:get(id)
    for _, node in ipairs(c ~= nil and box.space.store_nodes:select() or {}) do
        if node.status ~= 'forgotten' and nodes.lease_over(node) then
            local n = unsure.of_node(node.name, id)
            if n > 0 then
                table.insert(list, {node.name, 'away', n})
            end
        elseif node.status ~= 'forgotten' and not campaigns.over(c) then
            local key = word(node.name, node.epoch, id, c.version)
            if not quiet[key] then -- of a paused one: it was away, and is back with what it has not reported
                local n = c.state == 'paused' and unsure.of_node(node.name, id) or 0
                table.insert(list, {node.name, (heard[key] or n > 0) and 'answers' or 'not yet', n})
            end
        end
    end
    return list
end

return pauses
