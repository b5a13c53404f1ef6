-- Clause 12 at a queue: of which campaigns nothing is handed out. The list comes with the lease, so that whoever may take
-- knows it, and a restarted queue, which has no lease, needs none. A held campaign's batch that a take meets is parked, or
-- dropped when its campaign was cancelled; other campaigns' go on. Costs one look at an empty table when nothing is held.

local fiber = require('fiber')
local queue = require('queue')
local log = require('log')
local atomic = require('roles.atomic')
local state = require('roles.tubes.state')
local suspects = require('roles.tubes.suspects')

local holds = {}

local TASKS_A_STEP = 50
local held = {}   -- campaign as text -> {campaign, version, purge}; its id may be wider than a Lua number
local swept = {}  -- campaign as text -> true: none of its batches is left on the tubes
local sweeping = false

-- A batch's second field; nil for what is no batch.
local function campaign_of(task)
    return type(task[3]) == 'table' and task[3][2] or nil
end

function holds.migrate()
    local s = box.schema.space.create('tubes_parked', {if_not_exists = true, format = {
        {'number', 'unsigned'}, {'campaign', 'unsigned'}, {'tube', 'string'}, {'data', 'array'},
    }})
    s:create_index('number', {parts = {'number'}, if_not_exists = true})
    s:create_index('campaign', {parts = {'campaign', 'number'}, if_not_exists = true})
end

function holds.holding()
    return next(held) ~= nil
end

function holds.is_held(campaign)
    return held[tostring(campaign)] ~= nil
end

-- Inside the caller's transaction, which has just taken this task. Answers whether it is held and now out of the way.
function holds.set_aside(tube, task)
    local hold = held[tostring(campaign_of(task))]
    if hold == nil then
        return false
    end
    tube:ack(task[1])
    local suspect = suspects.forget(tube.name, task[1])
    if not hold.purge then -- field 5: what was known of a suspect, which a pause does not clear
        local known = suspect and suspect:totable(3) or nil
        box.space.tubes_parked:insert({state.draw('parked'), hold.campaign, tube.name, task[3], known})
    end
    return true
end

-- Up to TASKS_A_STEP parked batches leave: back to their tubes, or for good when their campaign was cancelled. Without a
-- lease this queue may be purging itself for a new epoch: then nothing goes back.
local function unpark(campaign, purge)
    if not purge and not state.leased() then
        return 0
    end
    local rows = box.space.tubes_parked.index.campaign:select({campaign}, {limit = TASKS_A_STEP})
    for _, row in ipairs(rows) do
        if not purge then
            local task = queue.tube[row.tube]:put(row.data)
            if row[5] ~= nil then
                box.space.tubes_suspects:replace({row.tube, task[1], unpack(row[5])})
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

-- Delete the campaign's batches that nobody has taken, TASKS_A_STEP looked at in a transaction. Answers whether that was
-- all: what is taken may come back in part.
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
                        suspects.forget(name, row[1])
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
        local hold = held[tostring(campaign)]
        while (hold == nil or hold.purge) and atomic(unpark, campaign, hold ~= nil) > 0 do
            fiber.yield()
            hold = held[tostring(campaign)]
        end
    end
    for key, hold in pairs(table.copy(held)) do
        if hold.purge and not swept[key] then
            local all = true
            for _, name in ipairs(queue.tube()) do
                if name:find('^push_') then
                    all = sweep_tube(name, hold.campaign) and all
                end
            end
            swept[key] = all or nil
        end
    end
end

-- What the store says, with each renewal. Batches move in the background, in small steps; what is left undone by an error
-- (no memory, say) is tried again at the next renewal.
function holds.set(list)
    local new, kept = {}, {}
    for _, entry in ipairs(list) do
        local key = tostring(entry[1])
        new[key] = {campaign = entry[1], version = entry[2], purge = entry[3]}
        kept[key] = swept[key]
    end
    held, swept = new, kept
    if sweeping or (next(held) == nil and box.space.tubes_parked:len() == 0) then
        return
    end
    sweeping = true
    fiber.create(function()
        fiber.name('holds')
        local ok, err = pcall(sweep)
        sweeping = false
        if not ok then
            log.warn('held batches stay where they are for now: %s', err)
        end
    end)
end

-- {campaign, version}s of which nobody here sends anything, as far as this queue knows, and no line is owed to the store.
function holds.still()
    if not holds.holding() then
        return {}
    end
    local busy = {}
    for _, row in box.space.tubes_taken:pairs() do
        local task = row.tube:find('^push_') and box.space[row.tube]:get(row.id) or nil
        if task ~= nil and task[2] == 't' then
            busy[tostring(task['[8][2]'])] = true -- its data's second field: the campaign
        end
    end
    for _, row in box.space.tubes_outbox:pairs() do
        busy[tostring(row.line.campaign)] = true
    end
    local list = {}
    for key, hold in pairs(held) do
        if not busy[key] then
            table.insert(list, {hold.campaign, hold.version})
        end
    end
    return list
end

return holds
