package shop;

record Cart(int items) {
	int total() {
		return items * 3;
	}
}
