-- Opens a restored data folder for the first time: `tarantool restore.lua`, with one line of JSON on standard input
-- {lua, directory, memory, go_on}, and one on standard output. Brings it to this code's schema, forgets the nodes whose
-- queue is not in it, and lets no campaign go on by itself unless `go_on`.

local fiber = require('fiber')
local json = require('json')

local given = json.decode(io.read('*l'))
package.path = package.path .. (';%s/?.lua;%s/?/init.lua'):format(given.lua, given.lua)
require('newer')

-- The ids of the campaigns in a state.
local function in_state(state)
    local ids = {}
    for _, c in box.space.store_campaigns.index.state:pairs({state}) do
        table.insert(ids, c.id)
    end
    return ids
end

-- firing -> pausing, and scheduled -> armed: each waits for a person. Returns {id, title, state} each.
local function hold()
    local atomic = require('roles.atomic')
    local pauses = require('roles.store.pauses')
    local now, held = math.floor(fiber.time() * 1000), setmetatable({}, {__serialize = 'seq'})
    local function note(id, state)
        local message = json.decode(box.space.store_campaigns:get(id).message)
        table.insert(held, {tostring(id):match('%d+'), message.title or '', state})
    end
    for _, id in ipairs(in_state('firing')) do
        pauses.campaign_pause(id, now)
    end
    for _, state in ipairs({'pausing', 'paused'}) do
        for _, id in ipairs(in_state(state)) do
            note(id, 'paused')
        end
    end
    for _, id in ipairs(in_state('scheduled')) do
        atomic(function()
            local policy = box.space.store_campaigns:get(id).policy
            policy.armed = {at = now}
            box.space.store_campaigns:update(id, {
                {'=', 'state', 'armed'}, {'+', 'version', 1},
                {'=', 'policy', setmetatable(policy, {__serialize = 'map'})},
            })
        end)
        note(id, 'armed')
    end
    return held
end

-- A node's queue that is not in this folder has gone on, or is lost: so its epoch ends, and its pages are walked again.
local function forget_nodes()
    local forgotten = setmetatable({}, {__serialize = 'seq'})
    for _, node in ipairs(box.space.store_nodes:select()) do
        if node.uuid ~= box.info.uuid and node.status ~= 'forgotten' then
            box.space.store_nodes:update(node.name, {{'=', 'status', 'forgotten'}})
            table.insert(forgotten, node.name)
        end
    end
    return forgotten
end

-- Of a replicated store: this instance is the master, and the others join it anew. What is left of them from before is
-- refused: it is no member, and its term is over.
local function lead()
    local row = box.space.store_meta:get('master')
    if row ~= nil then
        box.space.store_meta:replace({'master', {box.info.uuid, row.value[2] + 1, 1}})
    end
    for _, member in ipairs(box.space._cluster:select()) do
        if member[1] ~= box.info.id then
            box.space._cluster:delete(member[1])
        end
    end
end

local function open()
    box.cfg({
        work_dir = given.directory, memtx_memory = given.memory, memtx_max_tuple_size = 4 * 1024 * 1024, log_level = 1,
        checkpoint_count = 1, feedback_enabled = box.internal.feedback_daemon and false,
    })
    box.schema.upgrade()
    local said = {}
    if box.space.tubes_state ~= nil then
        require('roles.tubes').start({})
    end
    require('roles.store').start()
    lead()
    said.forgotten = forget_nodes()
    said.held = given.go_on and setmetatable({}, {__serialize = 'seq'}) or hold()
    said.subscribers, said.campaigns = box.space.store_subscribers:len(), box.space.store_campaigns:len()
    box.snapshot()
    return said
end

local ok, said = pcall(open)
io.stdout:write(json.encode(ok and {ok = true, result = said} or {ok = false, error = tostring(said)}), '\n')
io.stdout:flush()
os.exit(0)
