llm -m flarelay --key anything 'Why is the sky blue?'
llm -m flarelay --key anything -T llm_time 'What time is it?'
