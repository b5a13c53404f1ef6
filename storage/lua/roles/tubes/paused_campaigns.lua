-- Clause 12 at a queue: the campaigns of which no batch is handed out. The list comes with the lease, so a queue that
-- may hand out batches has it, and a restarted queue, which has no lease, needs none. A take that meets a batch of a
-- paused campaign parks it, or drops it if the campaign was cancelled. While nothing is paused this costs one look at
-- an empty table.

local fiber = require('fiber')
local queue = require('queue')
local log = require('log')
local atomic = require('roles.atomic')
local state = require('roles.tubes.state')
local batch_format = require('roles.tubes.batch_format')
local lanes = require('roles.tubes.lanes')
local node_tubes = require('roles.tubes.node_tubes')
local paced_campaigns = require('roles.tubes.paced_campaigns')
local poison_counters = require('roles.tubes.poison_counters')
local unsure = require('roles.tubes.unsure')

local paused_campaigns = {}

local TASKS_A_STEP = 50
local paused = {}   -- campaign as text -> {campaign, version, purge}; its id may be wider than a Lua number
local swept = {}  -- campaign as text -> true: none of its batches is left on the tubes
local sweeping = false

-- nil if it is not a batch.
local function campaign_of(task)
    return type(task[3]) == 'table' and task[3][batch_format.CAMPAIGN] or nil
end

function paused_campaigns.any()
    return next(paused) ~= nil
end

function paused_campaigns.is_paused(campaign)
    return paused[tostring(campaign)] ~= nil
end

-- Inside the caller's transaction, which has just taken this task. Returns whether its campaign is paused: then the
-- task is off the tube.
function paused_campaigns.park(tube, task)
    local pause = paused[tostring(campaign_of(task))]
    if pause == nil then
        return false
    end
    tube:ack(task[1])
    local counter = poison_counters.forget(tube.name, task[1])
    if not pause.purge then -- with its poison counter, which a pause does not clear
        local known = counter and counter:totable(3) or nil
        box.space.tubes_parked:insert({state.draw('parked'), pause.campaign, tube.name, task[3], known})
    end
    return true
end

-- Put up to TASKS_A_STEP parked batches back on their tubes, or delete them if their campaign was cancelled. Without a
-- lease this queue may be purging itself for a new epoch: then nothing goes back.
local function unpark(campaign, purge)
    if not purge and not state.leased() then
        return 0
    end
    local rows = box.space.tubes_parked.index.campaign:select({campaign}, {limit = TASKS_A_STEP})
    for _, row in ipairs(rows) do
        if not purge then
            local wait = tonumber(row.data[batch_format.BEGIN_FROM]) / 1000 - fiber.time() -- for quiet hours to end
            local task = queue.tube[row.tube]:put(row.data,
                {delay = math.max(0, wait), pri = lanes.pri(row.data[batch_format.LANE])})
            if row.counter ~= nil then
                box.space.tubes_poison_counters:replace({row.tube, task[1], unpack(row.counter)})
            end
        end
        box.space.tubes_parked:delete(row.number)
    end
    return #rows
end

local function parked_campaigns()
    local list, index = {}, box.space.tubes_parked.index.campaign
    local row = index:min()
    while row ~= nil do
        table.insert(list, row.campaign)
        row = index:select({row.campaign}, {iterator = 'GT', limit = 1})[1]
    end
    return list
end

-- Delete the campaign's batches that are not taken, TASKS_A_STEP tasks a transaction. Returns whether none was taken:
-- taken batches may come back in part.
local function sweep_tube(name, campaign)
    local after, tube, all = {}, queue.tube[name], true
    repeat
        local rows = box.space[name]:select(after, {iterator = 'GT', limit = TASKS_A_STEP})
        atomic(function()
            for _, row in ipairs(rows) do
                after[1] = row[1]
                local task = tube:peek(row[1])
                if campaign_of(task) == campaign then
                    if task[2] == 't' then
                        all = false
                    else
                        tube:delete(row[1])
                        poison_counters.forget(name, row[1])
                    end
                end
            end
        end)
        fiber.yield()
    until #rows < TASKS_A_STEP
    return all
end

local function sweep()
    for _, campaign in ipairs(parked_campaigns()) do
        local pause = paused[tostring(campaign)]
        -- those of a paced campaign come back at its rate
        while (pause == nil and not paced_campaigns.is_paced(campaign) or pause ~= nil and pause.purge) and atomic(unpark, campaign, pause ~= nil) > 0 do
            fiber.yield()
            pause = paused[tostring(campaign)]
        end
    end
    for key, pause in pairs(table.copy(paused)) do
        if pause.purge and not swept[key] then
            local all = true
            for _, name in ipairs(queue.tube()) do
                if node_tubes.channel_of(name) ~= nil then
                    all = sweep_tube(name, pause.campaign) and all
                end
            end
            swept[key] = all or nil
        end
    end
end

-- Set the list of paused campaigns, with each renewal. Batches move in the background, in small steps; after an error
-- (no memory, say) the rest is tried again at the next renewal.
function paused_campaigns.set(list)
    local new, kept = {}, {}
    for _, entry in ipairs(list) do
        local key = tostring(entry[1])
        new[key] = {campaign = entry[1], version = entry[2], purge = entry[3]}
        kept[key] = swept[key]
    end
    paused, swept = new, kept
    if sweeping or (next(paused) == nil and box.space.tubes_parked:len() == 0) then
        return
    end
    sweeping = true
    fiber.create(function()
        fiber.name('paused campaigns')
        local ok, err = pcall(sweep)
        sweeping = false
        if not ok then
            log.warn('batches of paused campaigns stay where they are for now: %s', err)
        end
    end)
end

-- {campaign, version}s of which, as far as this queue knows, nobody here sends anything and no line is owed.
function paused_campaigns.still()
    if not paused_campaigns.any() then
        return {}
    end
    local busy, ended = {}, {}
    for _, row in box.space.tubes_taken:pairs() do
        local task = node_tubes.channel_of(row.tube) and box.space[row.tube]:get(row.id) or nil
        local campaign = task and batch_format.of_row(task, batch_format.CAMPAIGN)
        if task ~= nil and task[2] == 't' then
            busy[tostring(campaign)] = true
        elseif task ~= nil and paused_campaigns.is_paused(campaign) then
            table.insert(ended, {row.tube, row.id}) -- without a result; nobody will take it now, so nobody else says so
        end
    end
    unsure.mark_all(ended)
    for _, row in box.space.tubes_outbox:pairs() do
        busy[tostring(row.line.campaign)] = true
    end
    local list = {}
    for key, pause in pairs(paused) do
        if not busy[key] then
            table.insert(list, {pause.campaign, pause.version})
        end
    end
    return list
end

return paused_campaigns
