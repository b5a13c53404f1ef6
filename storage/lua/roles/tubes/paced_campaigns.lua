-- Campaigns that may reach only so many people a second, so that the newsroom's own site bears those who open the news
-- (campaigns/herd.py). A batch of such a campaign goes out while its bucket has tokens; else it is parked beside those
-- of paused campaigns, and comes back as tokens come. Which campaigns these are is written with their first page, so
-- none of their batches ever goes out before this queue knows how fast: a queue that nobody tells waits.
--
-- While there is no such campaign this costs a take one look at an empty table.

local fiber = require('fiber')
local queue = require('queue')
local log = require('log')
local atomic = require('roles.atomic')
local batch_format = require('roles.tubes.batch_format')
local lanes = require('roles.tubes.lanes')
local poison_counters = require('roles.tubes.poison_counters')
local state = require('roles.tubes.state')

local paced_campaigns = {}

local KEY = 'paced ' -- of the entries of tubes_state
local VALID = 10 -- seconds for which a rate holds without being said again: as long as a lease
local BURST = 0.25 -- seconds' worth of tokens that a bucket holds
local LOOK_EVERY = 0.05 -- seconds between two looks at the parked batches
local STUCK = 1 -- seconds after which a tube from which nothing is taken is left out
local ROWS_A_LOOK = 100 -- parked batches looked at in one step

-- campaign as text -> {campaign, rate, known_until, tokens, filled, out, after}. out: tube -> {people, since}, brought
-- back and not yet taken; after: the last parked row that was looked at.
local paced = {}
local told = fiber.cond()
local leaking = false

-- Ids may be wider than a Lua number: so they are compared as text.
local function text(campaign)
    return (tostring(campaign):gsub('U?LL$', ''))
end

local function add(campaign)
    local key = text(campaign)
    if paced[key] == nil then
        paced[key] = {campaign = campaign, rate = 0, known_until = 0, tokens = 0, filled = fiber.clock(), out = {}, after = 0}
        told:broadcast()
    end
end

function paced_campaigns.start()
    for _, row in box.space.tubes_state:pairs({KEY}, {iterator = 'GE'}) do
        if row.key:sub(1, #KEY) ~= KEY then
            break
        end
        add(tonumber64(row.key:sub(#KEY + 1)))
    end
end

-- Inside the caller's transaction: from now on this campaign's batches wait for a rate.
function paced_campaigns.mark(campaign)
    if state.get(KEY .. text(campaign)) == 0 then
        state.set(KEY .. text(campaign), 1)
    end
    add(campaign)
end

function paced_campaigns.forget(campaign)
    box.space.tubes_state:delete({KEY .. text(campaign)})
    paced[text(campaign)] = nil
end

function paced_campaigns.any()
    return next(paced) ~= nil
end

function paced_campaigns.is_paced(campaign)
    return paced[text(campaign)] ~= nil
end

local function fill(entry)
    local now = fiber.clock()
    local from, til = math.min(entry.filled, now), math.min(now, entry.known_until)
    if til > from then
        entry.tokens = math.min(entry.rate * BURST, entry.tokens + entry.rate * (til - from))
    end
    entry.filled = now
    return entry.tokens
end

-- Whether nobody wants such a batch any more: it ends without reaching anybody, and needs no tokens.
local function is_over(expires_at)
    return tonumber(expires_at) <= fiber.time() * 1000
end

-- Inside the caller's transaction, which has just taken this task. Returns whether it must wait: then it is off the tube.
function paced_campaigns.park(tube, task)
    local campaign = batch_format.of(task, batch_format.CAMPAIGN)
    local entry = campaign ~= nil and paced[text(campaign)] or nil
    if entry == nil then
        return false
    end
    local size = tonumber(batch_format.of(task, batch_format.SIZE))
    local out = entry.out[tube.name]
    if out ~= nil then
        out.people, out.since = math.max(0, out.people - size), fiber.clock()
    end
    if fill(entry) > 0 or is_over(batch_format.of(task, batch_format.EXPIRES_AT)) then
        entry.tokens = entry.tokens - size
        return false
    end
    tube:ack(task[1])
    local counter = poison_counters.forget(tube.name, task[1])
    box.space.tubes_parked:insert({
        state.draw('parked'), entry.campaign, tube.name, task[3], counter and counter:totable(3) or nil,
    })
    return true
end

-- Put one parked batch back on its tube.
local function bring_back(row)
    local wait = tonumber(row.data[batch_format.BEGIN_FROM]) / 1000 - fiber.time() -- for quiet hours to end
    local task = queue.tube[row.tube]:put(row.data,
        {delay = math.max(0, wait), pri = lanes.pri(row.data[batch_format.LANE])})
    if row.counter ~= nil then
        box.space.tubes_poison_counters:replace({row.tube, task[1], unpack(row.counter)})
    end
    box.space.tubes_parked:delete(row.number)
end

-- One step: bring back as many of a campaign's batches as its tokens allow.
local function leak(entry, is_paused)
    local room = fill(entry)
    for _, out in pairs(entry.out) do
        room = room - (fiber.clock() - out.since < STUCK and out.people or 0)
    end
    local index = box.space.tubes_parked.index.campaign
    local first = index:select({entry.campaign}, {limit = 1})[1]
    if first == nil or is_paused(entry.campaign) or not state.leased() then
        return
    end
    local over = is_over(first.data[batch_format.EXPIRES_AT])
    if room <= 0 and not over then
        return
    end
    local rows = index:select({entry.campaign, entry.after}, {iterator = 'GT', limit = ROWS_A_LOOK})
    local seen = 0
    for _, row in ipairs(rows) do
        if row.campaign ~= entry.campaign or room <= 0 and not over then
            break
        end
        seen, entry.after = seen + 1, row.number
        local out = entry.out[row.tube] or {people = 0, since = fiber.clock()}
        if out.people == 0 then
            out.since = fiber.clock()
        end
        if fiber.clock() - out.since < STUCK then
            local size = tonumber(row.data[batch_format.SIZE])
            bring_back(row)
            out.people, room = out.people + size, room - size
        end
        entry.out[row.tube] = out
    end
    if seen < ROWS_A_LOOK and (room > 0 or over) then
        entry.after = 0 -- from the beginning again
    end
end

local function leak_all(is_paused)
    while paced_campaigns.any() do
        for _, entry in pairs(table.copy(paced)) do
            local ok, err = pcall(atomic, leak, entry, is_paused)
            if not ok then
                log.warn('batches of a paced campaign stay where they are for now: %s', err)
            end
        end
        fiber.sleep(LOOK_EVERY)
    end
end

-- rates: {campaign, people a second} each, this node's share; a negative one: the campaign is over, and what is left of
-- it needs no rate. `is_paused`: see paused_campaigns.lua.
function paced_campaigns.set(rates, is_paused)
    for _, entry in ipairs(rates) do
        local known = paced[text(entry[1])]
        if known ~= nil and entry[2] < 0 then
            atomic(paced_campaigns.forget, known.campaign)
        elseif known ~= nil then
            fill(known)
            known.rate, known.known_until = entry[2], fiber.clock() + VALID
        end
    end
    if paced_campaigns.any() and not leaking then
        leaking = true
        fiber.create(function()
            fiber.name('paced campaigns')
            local ok, err = pcall(leak_all, is_paused)
            leaking = false
            if not ok then
                log.warn('batches of paced campaigns wait: %s', err)
            end
        end)
    end
end

-- {campaign, parked batches} each; waits up to `timeout` seconds until there is such a campaign.
function paced_campaigns.list(timeout)
    if not paced_campaigns.any() then
        told:wait(timeout)
    end
    local list = {}
    for _, entry in pairs(paced) do
        table.insert(list, {entry.campaign, box.space.tubes_parked.index.campaign:count({entry.campaign})})
    end
    return list
end

return paced_campaigns
