-- What runs on each node, as the nodes write it with their heartbeats: a text that the store does not read. Kept in
-- memory only: every node repeats its text each second, so a new master has it within a second.

local clock = require('roles.clock')
local node_states = {}

local LARGEST = 65536 -- bytes of one text; a node keeps to it, but the store trusts none
local WANTED = 10     -- seconds after a look for which nodes also count what costs something to count

-- node's name -> {written at, ms UTC by the node's clock; text}. A node that is away keeps its last one.
local written = {}
local looked_at

-- `text`: nil or empty: as before. Another version of a node sends none.
function node_states.note(name, now, text)
    if type(text) == 'string' and text ~= '' and #text <= LARGEST then
        written[name] = {now, text}
    end
end

-- Whether somebody has looked in the last seconds.
function node_states.wanted()
    return looked_at ~= nil and clock.now() < looked_at + WANTED
end

-- {name, written at, text} each. `quietly`: for a reader who needs nothing that costs something to count.
function node_states.node_states(quietly)
    if not quietly then
        looked_at = clock.now()
    end
    local list = {}
    for name, state in pairs(written) do
        table.insert(list, {name, state[1], state[2]})
    end
    return list
end

return node_states
